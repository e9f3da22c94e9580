"""How the end of a job is told: by the provider that waits for it, on a real API server."""

import json
import threading
import time

import pytest

from penstock import Job, Program, Role
from penstock.errors import StageFailed, StageInterrupted
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
        def __init__(self, pull="trainer", timeout=60.0, restarts=0):
            super().__init__(daemon=True)
            job = Job(Program.TRAINER, {"chief": Role(["preprocess"], restarts=restarts)})
            args = JobSetArgs("stack", {Program.TRAINER: image(pull)}, "artifacts", {})
            made = job_set("dataset", job, {"chief": ["preprocess"]}, {}, args)
            self.name_ = made["metadata"]["name"]
            self.path = f"{JOB_SETS.format(workspace)}/{self.name_}"
            if api.get(self.path) is None:
                api.request("POST", JOB_SETS.format(workspace), body=made)
            self.props = {
                "name": "dataset",
                "urn": "",
                "kubeconfig": str(plane.kubeconfig),
                "context": "",
                "namespace": workspace,
                "job_set": self.name_,
                "uid": "",
                "success_role": "chief",
                "timeout_seconds": timeout,
                "start_seconds": 1.0,
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
