"""How the end of a job is told: by the provider that waits for it, on a real API server."""

import json
import threading
import time

import pytest

from penstock import Job, Program, Role
from penstock.errors import StageFailed, StageInterrupted
from penstock.kubernetes import job_result
from penstock.kubernetes.api import MERGE
from penstock.kubernetes.job_result import JobResultProvider
from penstock.kubernetes.job_set import JobSetArgs, job_set
from penstock.local import engine
from tests.cluster.conftest import JOB_SETS, PODS, end, eventually, image, replicas

RESULT = {"path": "/artifacts/dataset/key", "digest": "sha256:1", "counts": {"rows": 3}, "metrics": {}}


@pytest.fixture
def waited(api, plane, workspace, monkeypatch):
    """Starts a one-pod job and waits for it in a thread; what came of it is in the answer's `outcome`."""
    # The provider's first argument is the engine's address; here is none.
    monkeypatch.setattr("sys.argv", ["provider"])

    class Waiting(threading.Thread):
        posts = True

        def __init__(self, pull="trainer", timeout=60.0, restarts=0, patience=1.0):
            super().__init__(daemon=True)
            job = Job(Program.TRAINER, {"chief": Role(["preprocess"], restarts=restarts)})
            args = JobSetArgs("stack", {Program.TRAINER: image(pull)}, "artifacts", {})
            made = job_set("dataset", job, {"chief": ["preprocess"]}, {}, args)
            self.name_ = made["metadata"]["name"]
            self.path = f"{JOB_SETS.format(workspace)}/{self.name_}"
            if self.posts and api.get(self.path) is None:
                api.request("POST", JOB_SETS.format(workspace), body=made)
            self.props = {
                "name": "dataset",
                "urn": "",
                "kubeconfig": str(plane.kubeconfig),
                "context": "",
                "namespace": workspace,
                "job_set": self.name_,
                "uid": "",
                "manifest": made,
                "success_role": "chief",
                "timeout_seconds": timeout,
                "start_seconds": patience,
            }
            self.outcome = None
            self.start()

        def run(self):
            try:
                self.outcome = JobResultProvider().create(self.props).outs
            except (StageFailed, StageInterrupted) as exc:
                self.outcome = exc

        def told(self):
            self.join(timeout=90)
            assert not self.is_alive()
            return self.outcome

    return Waiting


def chief(api, workspace):
    def runs():
        return [pod for pod in replicas(api, workspace, "chief") if pod["status"].get("phase") == "Running"]

    return eventually(runs, "the chief runs")[0]


def test_a_job_that_ends_well_gives_what_its_chief_left(api, workspace, waited):
    waiting = waited()
    end(api, chief(api, workspace), 0, json.dumps(RESULT))
    outcome = waiting.told()
    assert {key: outcome[key] for key in RESULT} == RESULT


def test_a_failed_job_tells_its_last_words_and_the_next_run_starts_it_again(api, workspace, waited):
    waiting = waited()
    failed = chief(api, workspace)
    end(api, failed, 1, "12:00 reading\nerror: disk full after 3 shards")
    told = str(waiting.told())
    assert told.startswith("dataset failed: chief 0 ended with exit code 1\ndisk full after 3 shards")
    again = waited()
    own = {"batch.kubernetes.io/controller-uid": failed["metadata"]["labels"]["batch.kubernetes.io/controller-uid"]}
    eventually(lambda: not replicas(api, workspace, "chief", **own), "the failed one is gone")
    end(api, chief(api, workspace), 0, json.dumps(RESULT))
    assert again.told()["digest"] == "sha256:1"


def test_a_failed_job_whose_pods_stay_is_waited_for_no_longer_than_any_other(api, workspace, waited):
    """As those of a node that is gone and still there by its name do."""
    waiting = waited()
    end(api, chief(api, workspace), 1, "error: disk full")
    assert "disk full" in str(waiting.told())
    written = {"metadata": {"finalizers": ["test/hold"], "labels": {"queue": "wrote-this"}}}
    api.request("PATCH", waiting.path, body=written, content_type=MERGE)
    told = str(waited(timeout=3.0).told())
    assert told == "dataset was not done after 3 seconds: the JobSet that failed before is being removed"
    again = waited()
    api.request("PATCH", waiting.path, body={"metadata": {"finalizers": None}}, content_type=MERGE)
    eventually(lambda: "queue" not in (api.get(waiting.path) or written)["metadata"]["labels"], "as it was asked for")
    end(api, chief(api, workspace), 0, json.dumps(RESULT))
    assert again.told()["digest"] == "sha256:1"


def test_a_job_that_was_removed_by_hand_is_made_anew_by_the_next_run(api, workspace, waited, monkeypatch):
    looked, look = threading.Event(), job_result._Waiting.look
    monkeypatch.setattr(job_result._Waiting, "look", lambda self: (look(self), looked.set())[0])
    waiting = waited()
    chief(api, workspace)
    assert looked.wait(60), "before that, it would be made anew at once"
    api.request("DELETE", waiting.path)
    assert f"the JobSet {waiting.name_} is gone; the next `up` makes it again" in str(waiting.told())
    monkeypatch.setattr(waited, "posts", False)
    again = waited()
    end(api, chief(api, workspace), 0, json.dumps(RESULT))
    assert again.told()["digest"] == "sha256:1"


def test_a_job_that_left_no_result_is_not_taken_for_done(api, workspace, waited):
    waiting = waited()
    end(api, chief(api, workspace), 0, "done")
    assert "left no result" in str(waiting.told())


def test_a_job_that_completed_while_nobody_looked_and_whose_pod_is_gone_is_run_again_by_the_next_but_one(
    api, workspace, waited, monkeypatch
):
    waiting = waited()
    done = chief(api, workspace)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(engine, "is_cancelled", lambda: True)
        assert isinstance(waiting.told(), StageInterrupted)
    end(api, done, 0, json.dumps(RESULT))
    eventually(lambda: api.get(waiting.path)["status"].get("terminalState") == "Completed", "completed")
    # As when its node is scaled away.
    api.request("DELETE", f"{PODS.format(workspace)}/{done['metadata']['name']}")
    eventually(lambda: not replicas(api, workspace, "chief"), "its pod is gone")
    assert "dataset completed, but its chief left no result: its pod is gone" in str(waited().told())
    again = waited()
    end(api, chief(api, workspace), 0, json.dumps(RESULT))
    assert again.told()["digest"] == "sha256:1"


def test_an_image_that_is_not_there_is_told_by_its_name_and_not_waited_for(waited):
    begin = time.monotonic()
    told = str(waited(pull="missing").told())
    assert "chief 0 cannot start: ImagePullBackOff" in told
    assert image("missing") in told
    assert time.monotonic() - begin < 60


def test_an_image_that_is_tried_again_and_again_is_given_up_as_well(api, workspace, waited):
    """A kubelet says by turns that a try has failed and that it waits for the next one."""
    waiting = waited(pull="missing", patience=4.0)

    def pulled():
        return [pod for pod in replicas(api, workspace, "chief") if pod["status"].get("containerStatuses")]

    pod = eventually(pulled, "the image is asked for")[0]
    begin = time.monotonic()
    while waiting.is_alive() and time.monotonic() - begin < 40:
        for reason in ("ErrImagePull", "ImagePullBackOff"):
            (status,) = pod["status"]["containerStatuses"]
            status["state"] = {"waiting": {"reason": reason, "message": "not found"}}
            path = f"{PODS.format(workspace)}/{pod['metadata']['name']}/status"
            api.request("PATCH", path, body={"status": {"containerStatuses": [status]}}, content_type=MERGE)
            time.sleep(0.7)
    assert "chief 0 cannot start: " in str(waiting.told())


def test_what_keeps_a_pod_from_starting_is_what_the_timeout_says(api, workspace, waited):
    """A volume that cannot be mounted is told by an event of the pod alone."""
    waiting = waited(pull="missing", timeout=10.0, patience=60.0)
    pod = eventually(lambda: replicas(api, workspace, "chief"), "its pod")[0]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "mount", "namespace": workspace},
        "involvedObject": {"kind": "Pod", "namespace": workspace, "name": pod["metadata"]["name"]},
        "type": "Warning",
        "reason": "FailedMount",
        "message": "nfs: connection refused",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    api.request("POST", f"/api/v1/namespaces/{workspace}/events", body=event)
    told = str(waiting.told())
    assert told.startswith("dataset was not done after 10 seconds: pods: 1 pending; ")
    assert "chief 0 waits: ImagePullBackOff: Back-off pulling image" in told
    assert "FailedMount: nfs: connection refused" in told


def test_a_quota_that_is_full_is_what_the_timeout_says(api, workspace, waited):
    path = f"/api/v1/namespaces/{workspace}/resourcequotas/penstock"
    api.request("PATCH", path, body={"spec": {"hard": {"pods": "0"}}}, content_type=MERGE)
    eventually(lambda: api.get(path)["status"]["hard"].get("pods") == "0", "the quota holds")
    told = str(waited(timeout=15.0).told())
    assert "dataset was not done after 15 seconds" in told
    assert "exceeded quota: penstock" in told


def test_a_pod_without_a_node_is_what_the_timeout_says(api, plane, workspace, waited):
    for node in api.items("/api/v1/nodes"):
        plane.kubectl("cordon", node["metadata"]["name"])
    try:
        told = str(waited(timeout=5.0).told())
    finally:
        for node in api.items("/api/v1/nodes"):
            plane.kubectl("uncordon", node["metadata"]["name"])
    assert "chief 0 has no node: 0/6 nodes are available" in told


def test_an_interrupted_run_leaves_the_job_running_and_the_next_one_goes_on_with_it(
    api, workspace, waited, monkeypatch
):
    waiting = waited()
    running = chief(api, workspace)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(engine, "is_cancelled", lambda: True)
        told = waiting.told()
    assert isinstance(told, StageInterrupted)
    assert f"still running in the cluster as {waiting.name_}" in str(told)
    again = waited()
    end(api, running, 0, json.dumps(RESULT))
    assert again.told()["digest"] == "sha256:1"


def test_the_api_server_may_be_away_for_a_while(api, plane, workspace, waited):
    waiting = waited()
    running = chief(api, workspace)
    plane.stop_server()
    time.sleep(5)
    assert waiting.is_alive()
    plane.start_server()
    end(api, running, 0, json.dumps(RESULT))
    assert waiting.told()["digest"] == "sha256:1"
