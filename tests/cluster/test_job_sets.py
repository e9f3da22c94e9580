"""Jobs as our manifests describe them, under the real JobSet controller: who is started again, and what ends a job."""

import json

import pytest

from penstock import Job, Program, Role
from penstock.kubernetes import Machine, verdict
from penstock.kubernetes.api import MERGE, ApiError
from penstock.kubernetes.job_set import JobSetArgs, job_set
from tests.cluster.conftest import JOB_SETS, PODS, end, eventually, image, replicas

TRAINING = {
    "chief": Role(["train"]),
    "ps": Role(["train"], replicas=2, restarts=2),
    "worker": Role(["train"], replicas=3, restarts=1),
}


@pytest.fixture
def start(api, workspace):
    """Starts a job and answers how to look at its JobSet, once all its pods run."""

    def make(roles=TRAINING, machines=None):
        job = Job(Program.TRAINER, roles)
        args = JobSetArgs("stack", {Program.TRAINER: image("trainer")}, "artifacts", machines or {})
        made = job_set("model", job, {role: details.command for role, details in roles.items()}, {}, args)
        name = made["metadata"]["name"]
        api.request("POST", JOB_SETS.format(workspace), body=made)

        def live():
            return api.get(f"{JOB_SETS.format(workspace)}/{name}")

        for role, details in roles.items():
            eventually(lambda role=role, count=details.replicas: running(api, workspace, role) == count, f"{role} runs")
        return live

    return make


def running(api, namespace, role):
    return sum(pod["status"].get("phase") == "Running" for pod in replicas(api, namespace, role))


def state(live):
    return live().get("status", {}).get("terminalState")


def test_the_chief_ends_the_job_and_leaves_its_result_and_the_others_are_ended(api, workspace, start):
    live = start()
    result = {"path": "/artifacts/models/key", "digest": "sha256:1", "counts": {}, "metrics": {}}
    end(api, replicas(api, workspace, "chief")[0], 0, json.dumps(result))
    eventually(lambda: state(live) == "Completed", "completed")
    name = live()["metadata"]["name"]
    assert verdict.result(verdict.pods(api, workspace, name), "chief") == result
    eventually(lambda: not running(api, workspace, "ps") and not running(api, workspace, "worker"), "the others ended")


def test_a_failed_worker_is_started_again_in_its_place_and_nobody_else_is(api, workspace, start):
    live = start()
    others = {pod["metadata"]["uid"] for role in ("chief", "ps") for pod in replicas(api, workspace, role)}
    failed = replicas(api, workspace, "worker", 1)[0]
    end(api, failed, 1)

    def again():
        found = [pod for pod in replicas(api, workspace, "worker", 1) if pod["status"].get("phase") == "Running"]
        return [pod for pod in found if pod["metadata"]["uid"] != failed["metadata"]["uid"]]

    eventually(again, "worker 1 again")
    assert {pod["metadata"]["uid"] for role in ("chief", "ps") for pod in replicas(api, workspace, role)} == others
    assert live()["status"]["restarts"] == 0


def test_a_worker_that_has_failed_too_often_fails_the_job_and_its_last_words_are_told(api, workspace, start):
    roles = {**TRAINING, "worker": Role(["train"], replicas=3, restarts=0)}
    live = start(roles)
    end(api, replicas(api, workspace, "worker", 2)[0], 1, "12:00 reading\nerror: out of scratch space")
    eventually(lambda: state(live) == "Failed", "failed")
    name = live()["metadata"]["name"]
    told = verdict.failure(api, workspace, live(), verdict.pods(api, workspace, name))
    assert "worker 2 ended with exit code 1\nout of scratch space" in told


@pytest.mark.parametrize("role", ["ps", "chief"])
def test_when_a_parameter_server_or_the_chief_fails_all_start_again(api, workspace, start, role):
    live = start()
    before = {pod["metadata"]["uid"] for each in TRAINING for pod in replicas(api, workspace, each)}
    end(api, replicas(api, workspace, role)[0], 1)
    eventually(lambda: live()["status"]["restarts"] == 1, "started again")

    def all_new():
        pods = [pod for each in TRAINING for pod in replicas(api, workspace, each)]
        ready = [pod for pod in pods if pod["status"].get("phase") == "Running"]
        return len(ready) == 6 and not {pod["metadata"]["uid"] for pod in ready} & before

    eventually(all_new, "all pods are new")


def test_input_at_fault_is_not_tried_again(api, workspace, start):
    live = start()
    end(api, replicas(api, workspace, "chief")[0], 2, "error: no column 'late' in flights.csv")
    eventually(lambda: state(live) == "Failed", "failed")
    assert live()["status"]["restarts"] == 0
    pods = verdict.pods(api, workspace, live()["metadata"]["name"])
    assert "no column 'late' in flights.csv" in verdict.failure(api, workspace, live(), pods)


def test_an_evicted_pod_has_not_failed(api, workspace, start):
    # No restarts are allowed at all, so one that counted would end the job.
    roles = {name: Role(["train"], replicas=role.replicas) for name, role in TRAINING.items()}
    live = start(roles)
    evicted = replicas(api, workspace, "worker", 0)[0]
    name = evicted["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": workspace}}
    api.request("POST", f"{PODS.format(workspace)}/{name}/eviction", body=eviction)

    def replaced():
        found = [pod for pod in replicas(api, workspace, "worker", 0) if pod["status"].get("phase") == "Running"]
        return [pod for pod in found if pod["metadata"]["uid"] != evicted["metadata"]["uid"]]

    eventually(replaced, "worker 0 elsewhere")
    assert state(live) is None
    assert live()["status"]["restarts"] == 0


@pytest.mark.parametrize("role", ["ps", "chief"])
def test_when_the_node_of_a_parameter_server_or_the_chief_is_lost_all_start_again_and_nothing_is_counted(
    api, workspace, start, role
):
    live = start({name: Role(["train"], replicas=each.replicas) for name, each in TRAINING.items()})
    before = {pod["metadata"]["uid"] for each in TRAINING for pod in replicas(api, workspace, each)}
    lost = replicas(api, workspace, role)[0]["metadata"]["name"]
    # So the garbage collector of pods leaves one whose node is gone.
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}
    status = {"status": {"phase": "Failed", "conditions": [condition]}}
    api.request("PATCH", f"{PODS.format(workspace)}/{lost}/status", body=status, content_type=MERGE)

    def all_new():
        pods = [pod for each in TRAINING for pod in replicas(api, workspace, each)]
        ready = {pod["metadata"]["uid"] for pod in pods if pod["status"].get("phase") == "Running"}
        return len(ready) == 6 and not ready & before

    eventually(all_new, "all pods are new")
    assert state(live) is None
    assert live()["status"].get("restartsCountTowardsMax", 0) == 0


def test_a_role_that_asks_for_accelerators_gets_the_nodes_that_have_them(api, workspace, start):
    start(machines={"worker": Machine(accelerators=4, node_selector={"cloud.google.com/gke-accelerator": "nvidia-l4"})})
    nodes = {role: {pod["spec"]["nodeName"] for pod in replicas(api, workspace, role)} for role in TRAINING}
    assert all(name.startswith("gpu-") for name in nodes["worker"])
    assert all(name.startswith("cpu-") for name in nodes["ps"] | nodes["chief"])


def test_the_namespace_takes_no_pod_that_is_not_restricted(api, workspace):
    container = {"name": "shell", "image": image("shell"), "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shell"}, "spec": {"containers": [container]}}
    with pytest.raises(ApiError, match='violates PodSecurity "restricted:latest": privileged'):
        api.request("POST", PODS.format(workspace), body=pod)
