"""What `status` and `verify` take from a cluster's endpoint, as the platform renders it."""

import pytest

from penstock import Program, Service
from penstock.command import status
from penstock.command.state import State
from penstock.kubernetes import ScaleOn, knative
from penstock.kubernetes.api import Api
from penstock.kubernetes.serving import ServingArgs, objects
from penstock.kubernetes.versions import FILE, VersionsProvider
from penstock.verification.target import Target

SPACE = "penstock"
DIGESTS = {letter: f"sha256:{letter * 64}" for letter in "ab"}
COMMAND = ["--model", "/artifacts/models/b", "--name", "flights", "--expect-digest", DIGESTS["b"]]


def known(letter, traffic):
    """A model as it comes to an endpoint."""
    return {
        "name": "v",
        "path": f"/artifacts/models/{letter}",
        "digest": DIGESTS[letter],
        "model_name": "flights",
        "traffic": traffic,
    }


@pytest.fixture
def stack(monkeypatch):
    """Makes the state of a stack whose second model came with a setting `traffic`, and its cluster."""

    def make(traffic, there=True):
        args = ServingArgs("prod", "i@sha256:2", "artifacts", plan="serve-plan-1" if traffic else "")
        deployment = objects("serve", Service(Program.SERVER, [], port=8600), COMMAND, args)["deployment"]
        deployment["metadata"]["namespace"] = SPACE
        first = VersionsProvider().create(known("a", None)).outs or {}
        plan = (VersionsProvider().update("", first, known("b", traffic)).outs or {})["plan"]
        plans = {"metadata": {"name": "serve-plan-1"}, "data": {FILE: plan}}
        made = {
            "pulumi:providers:kubernetes": {"kubeconfig": "none"},
            "kubernetes:core/v1:ConfigMap": plans,
            "kubernetes:apps/v1:Deployment": deployment,
        }
        cluster = {f"/apis/apps/v1/namespaces/{SPACE}/deployments/serve": {**deployment, "status": {}}}
        if there:
            cluster[f"/api/v1/namespaces/{SPACE}/configmaps/serve-plan-1"] = plans
        monkeypatch.setattr(Api, "get", lambda _self, path: cluster.get(path))
        monkeypatch.setattr(Api, "items", lambda *_: [])
        monkeypatch.setattr(Api, "__init__", lambda *_: None)
        return State("prod", {"resources": [{"urn": f"urn::{t}", "type": t, "outputs": o} for t, o in made.items()]})

    return make


@pytest.mark.parametrize(
    ("traffic", "models", "versions"),
    [
        (None, "b", [("1", "b", "100%")]),
        ({"latest": 10.0, "previous": 30.0}, "ab", [("1", "a", "75%"), ("2", "b", "25%")]),
        ({"latest": 0.0, "previous": 100.0}, "a", [("1", "a", "100%"), ("2", "b", "shadow")]),
        ({"previous": 100.0}, "a", [("1", "a", "100%")]),
    ],
)
def test_who_answers_is_read_from_the_arguments_or_from_the_plan_that_the_pods_mount(stack, traffic, models, versions):
    state = stack(traffic)
    target, endpoint = Target.of(state), status.endpoint(state)
    assert (target.name, target.port, target.url) == ("flights", 8600, "http://127.0.0.1:8600")
    assert target.models == {DIGESTS[letter]: f"/artifacts/models/{letter}" for letter in models}
    assert target.split == bool(traffic)
    assert endpoint is not None
    assert [(v.number, v.digest, v.share) for v in endpoint.versions] == [(n, d * 12, s) for n, d, s in versions]


def test_a_plan_that_is_gone_from_the_cluster_is_told(stack):
    endpoint = status.endpoint(stack({"latest": 100.0}, there=False))
    assert endpoint is not None
    assert "ConfigMap serve-plan-1, by which its servers split the traffic, is not there" in endpoint.state


@pytest.mark.parametrize("ready", ["True", "Unknown"])
def test_an_endpoint_of_knatives_is_found_by_its_workload_and_tells_what_it_lacks(monkeypatch, ready):
    service = Service(Program.SERVER, [], port=8600, min_replicas=0, max_replicas=3)
    args = ServingArgs("prod", "i@sha256:2", "artifacts", scale_on=ScaleOn.KNATIVE)
    made = knative.objects("serve", service, COMMAND, args)["knative"]
    made["metadata"]["namespace"] = SPACE
    condition = {"type": "Ready", "status": ready, "message": "" if ready == "True" else "no ingress"}
    live = {**made, "status": {"conditions": [condition]}}
    paths = {f"/apis/serving.knative.dev/v1/namespaces/{SPACE}/services/serve-knative": live}
    pods = [{"metadata": {"name": "serve-1", "labels": {"penstock.dev/workload": "serve"}}, "status": live["status"]}]
    monkeypatch.setattr(Api, "get", lambda _self, path: paths.get(path))
    monkeypatch.setattr(Api, "items", lambda *_: pods)
    monkeypatch.setattr(Api, "__init__", lambda *_: None)
    parts = {"pulumi:providers:kubernetes": {"kubeconfig": "none"}, "kubernetes:serving.knative.dev/v1:Service": made}
    state = State("prod", {"resources": [{"urn": f"urn::{t}", "type": t, "outputs": o} for t, o in parts.items()]})
    target, endpoint = Target.of(state), status.endpoint(state)
    assert target.ranges == {"serve": (0, 3, False)}
    assert target.knative == {"serve": "serve-knative"}
    assert target.models == {DIGESTS["b"]: "/artifacts/models/b"}
    assert endpoint is not None
    assert endpoint.state == ("serve-1 None" if ready == "True" else "serve-1 None, no ingress")
    assert endpoint.replicas == ("1 of 1 ready" if ready == "True" else "0 of 1 ready")
    paths.clear()
    gone = status.endpoint(state)
    assert gone is not None
    assert gone.state == "Service serve-knative is gone from penstock"
