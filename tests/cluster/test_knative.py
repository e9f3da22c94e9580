"""What is asked of a cluster with Knative, and how its Service is waited for: a real API server, no controller."""

import threading

import pytest

from penstock import Program, Service
from penstock.errors import ServiceFailed
from penstock.kubernetes import ScaleOn, knative, preflight
from penstock.kubernetes.api import MERGE, ClusterError
from penstock.kubernetes.readiness import KNATIVE, ReadinessProvider
from penstock.kubernetes.serving import ServingArgs
from tests.cluster.conftest import eventually, image

SERVICES = f"/apis/{knative.SERVICE[0]}/namespaces/{{}}/services"
CLAIMS = "kubernetes.podspec-persistent-volume-claim"
NAMESPACES = "/api/v1/namespaces"


@pytest.fixture
def features(api):
    """Sets what Knative's ConfigMap says of features; afterwards it is gone."""
    place = {"name": knative.SYSTEM}
    api.request("POST", NAMESPACES, body={"apiVersion": "v1", "kind": "Namespace", "metadata": place})
    path = f"{NAMESPACES}/{knative.SYSTEM}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": knative.FEATURES}, "data": {}}
    api.request("POST", path, body=body)
    yield lambda **on: api.request("PATCH", f"{path}/{knative.FEATURES}", body={"data": on}, content_type=MERGE)
    api.request("DELETE", f"{NAMESPACES}/{knative.SYSTEM}")
    eventually(lambda: api.get(f"{NAMESPACES}/{knative.SYSTEM}") is None, "it is gone")


def test_features_that_are_off_are_told_with_the_command_that_turns_them_on(api, features):
    asked = ["kubernetes.podspec-volumes-emptydir", CLAIMS]
    with pytest.raises(ClusterError) as told:
        preflight.check_features(api, asked)
    assert f"which lacks {CLAIMS}; let it take them with `kubectl patch configmap config-features" in str(told.value)
    assert f"""--patch '{{"data": {{"{CLAIMS}": "enabled"}}}}'`""" in str(told.value)
    features(**{CLAIMS: "Enabled"})
    preflight.check_features(api, asked)
    features(**{asked[0]: "disabled"})
    with pytest.raises(ClusterError, match=r"which lacks kubernetes\.podspec-volumes-emptydir; "):
        preflight.check_features(api, asked)


@pytest.fixture
def waited(knowing, plane, workspace, monkeypatch):
    """Makes the Service of an endpoint, waits for it in a thread, and has its controller say something of it."""
    # The provider's first argument is the engine's address; here is none.
    monkeypatch.setattr("sys.argv", ["provider"])
    service = Service(Program.SERVER, [], port=8501, min_replicas=0, max_replicas=3)
    args = ServingArgs("stack", image("serving"), "artifacts", scale_on=ScaleOn.KNATIVE)
    made = knative.objects("serve", service, ["--model", "/m"], args)["knative"]
    live = knowing.request("POST", SERVICES.format(workspace), body=made)
    props = {"name": "serve-ready", "urn": "", "kubeconfig": str(plane.kubeconfig), "context": "", "spec": ""}
    props |= {"kind": KNATIVE, "namespace": workspace, "workload": live["metadata"]["name"], "uid": ""}

    class Waiting(threading.Thread):
        outcome = None

        def __init__(self, timeout):
            super().__init__(daemon=True)
            self.props = {**props, "timeout_seconds": timeout, "start_seconds": 60.0}
            self.start()

        def run(self):
            try:
                self.outcome = ReadinessProvider().create(self.props).outs
            except ServiceFailed as exc:
                self.outcome = str(exc)

    def say(ready, created, answering, message="", seen=1):
        condition = {"type": "Ready", "status": ready, "message": message}
        revisions = {"latestCreatedRevisionName": created, "latestReadyRevisionName": answering}
        body = {"status": {"conditions": [condition], "observedGeneration": seen, **revisions}}
        path = f"{SERVICES.format(workspace)}/{live['metadata']['name']}/status"
        knowing.request("PATCH", path, body=body, content_type=MERGE)

    return Waiting, say


def test_a_service_is_ready_when_its_latest_revision_is_and_the_controller_has_looked_at_it(waited):
    wait, say = waited
    say("True", "serve-knative-00001", "serve-knative-00001", seen=0)
    waiting = wait(60.0)
    waiting.join(timeout=3)
    assert waiting.is_alive(), "what is said of an earlier one is not of this"
    say("Unknown", "serve-knative-00002", "serve-knative-00001")
    waiting.join(timeout=3)
    assert waiting.is_alive(), "the revision before answers"
    say("True", "serve-knative-00002", "serve-knative-00002")
    waiting.join(timeout=10)
    assert waiting.outcome["workload"] == "serve-knative"


def test_what_a_service_lacks_is_what_the_timeout_says(waited):
    wait, say = waited
    say("False", "serve-knative-00001", "", "Revision serve-knative-00001 failed with message: no such model.")
    waiting = wait(2.0)
    waiting.join(timeout=30)
    assert "Knative Service serve-knative was not ready after 2 seconds: " in waiting.outcome
    assert "revision serve-knative-00001 is not ready" in waiting.outcome
    assert "failed with message: no such model." in waiting.outcome
