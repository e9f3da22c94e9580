"""How a workload whose pods do not get ready is told: by the provider that waits for them, on a real API server."""

import time

import pytest

from penstock import Program, Service
from penstock.errors import ServiceFailed, StageInterrupted
from penstock.kubernetes import serving
from penstock.kubernetes.api import MERGE
from penstock.kubernetes.readiness import ReadinessProvider
from penstock.local import engine
from tests.cluster.conftest import eventually, image

DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"


@pytest.fixture
def waited(api, plane, workspace, monkeypatch):
    """Makes an endpoint of one replica and waits for it; what is told where it does not get ready."""
    # The provider's first argument is the engine's address; here is none.
    monkeypatch.setattr("sys.argv", ["provider"])

    def wait(pull="serving", timeout=60.0, start=30.0):
        args = serving.ServingArgs("stack", image(pull), "artifacts")
        made = serving.objects("serve", Service(Program.SERVER, [], port=8501), ["--model", "/m"], args)["deployment"]
        if api.get(f"{DEPLOYMENTS.format(workspace)}/serve") is None:
            api.request("POST", DEPLOYMENTS.format(workspace), body=made)
        props = {"name": "serve-ready", "urn": "", "kubeconfig": str(plane.kubeconfig), "context": ""}
        props |= {"kind": "Deployment", "namespace": workspace, "workload": "serve", "uid": "", "asked": ""}
        props |= {"timeout_seconds": timeout, "start_seconds": start}
        try:
            return ReadinessProvider().create(props).outs
        except (ServiceFailed, StageInterrupted) as exc:
            return str(exc)

    return wait


def test_pods_that_are_ready_are_waited_for(waited, api, workspace):
    assert waited()["workload"] == "serve"
    assert api.get(f"{DEPLOYMENTS.format(workspace)}/serve")["status"]["availableReplicas"] == 1


def test_an_image_that_is_not_there_is_named_and_not_waited_for(waited):
    begin = time.monotonic()
    told = waited(pull="missing", start=1.0)
    assert told.startswith("Deployment serve cannot start: pods: 0 ready, 1 not ready")
    assert "waits: ImagePullBackOff" in told
    assert image("missing") in told
    assert time.monotonic() - begin < 30


def test_a_quota_that_is_full_is_what_the_timeout_says(waited, api, workspace):
    path = f"/api/v1/namespaces/{workspace}/resourcequotas/penstock"
    api.request("PATCH", path, body={"spec": {"hard": {"pods": "0"}}}, content_type=MERGE)
    eventually(lambda: api.get(path)["status"]["hard"].get("pods") == "0", "the quota holds")
    told = waited(timeout=5.0)
    assert told.startswith("Deployment serve was not ready after 5 seconds: pods: 0 ready, 0 not ready")
    assert "exceeded quota: penstock" in told


def test_an_interrupted_run_leaves_it_to_the_cluster(waited, monkeypatch):
    monkeypatch.setattr(engine, "is_cancelled", lambda: True)
    assert "is not ready yet; the cluster goes on with it" in waited(pull="missing")
