"""The budget's guard on a real API server with the real JobSet controller: what is suspended comes back."""

import pytest

from penstock import Job, Program, Role, Service
from penstock.gcp import guarded
from penstock.gcp.workspace import guarded as rights
from penstock.kubernetes.api import Api
from penstock.kubernetes.job_set import JobSetArgs, job_set
from penstock.kubernetes.serving import ServingArgs, objects
from tests.cluster.conftest import JOB_SETS, eventually, image, replicas

GUARD = "penstock-dev-guard@acme-dev.iam.gserviceaccount.com"
ROLES = {"chief": Role(["train"]), "ps": Role(["train"], replicas=2), "worker": Role(["train"], replicas=2)}


class Cluster:
    """The guard's way to the control plane, with nothing but the rights that its account has there."""

    def __init__(self, api):
        self._api = api

    def request(self, verb, path, query, body=None, form=""):
        found = self._api.request(verb, path, query, body, **({"content_type": form} if form else {}))
        return type("Answer", (), {"json": lambda _: found})()


@pytest.fixture
def cluster(api, plane, workspace):
    for each in rights(GUARD, "1234").values():
        kind = api.kind(each["apiVersion"], each["kind"])
        api.request("POST", kind.collection(workspace), body=each)
    own = Api(str(plane.kubeconfig))
    own._client.set_default_header("Impersonate-User", GUARD)
    return Cluster(own)


def test_a_suspended_job_loses_its_pods_and_gets_them_back_and_the_endpoint_keeps_its_floor(api, workspace, cluster):
    args = JobSetArgs("stack", {Program.TRAINER: image("trainer")}, "artifacts", {})
    commands = {role: ["train"] for role in ROLES}
    job = job_set("model", Job(Program.TRAINER, ROLES), commands, {}, args)
    api.request("POST", JOB_SETS.format(workspace), body=job)
    service = Service(Program.SERVER, [], port=8501, min_replicas=3, max_replicas=9)
    served = objects("serve", service, ["--name", "a"], ServingArgs("stack", image("serving"), "artifacts"))
    for part in ("deployment", "scaling"):
        kind = api.kind(served[part]["apiVersion"], served[part]["kind"])
        api.request("POST", kind.collection(workspace), body=served[part])

    def pods():
        return sum(len(replicas(api, workspace, role)) for role in ROLES)

    def autoscaler():
        return api.get(f"{guarded.AUTOSCALERS.format(workspace)}/serve")["spec"]

    eventually(lambda: pods() == 5, "all roles run")
    own = guarded.Guarded(stages={}, records="", namespace=workspace, floor=2)
    told = [*guarded._jobs(cluster, workspace, True), *guarded._deployments(cluster, own, True)]
    assert told == [f"job {job['metadata']['name']} is suspended", "endpoint serve: maxReplicas 2, minReplicas 2"]
    eventually(lambda: pods() == 0, "no pod is left")
    assert (autoscaler()["minReplicas"], autoscaler()["maxReplicas"]) == (2, 2)
    assert [*guarded._jobs(cluster, workspace, True), *guarded._deployments(cluster, own, True)] == []

    told = [*guarded._jobs(cluster, workspace, False), *guarded._deployments(cluster, own, False)]
    assert told[0] == f"job {job['metadata']['name']} goes on"
    eventually(lambda: pods() == 5, "all roles run again")
    assert (autoscaler()["minReplicas"], autoscaler()["maxReplicas"]) == (3, 9)
