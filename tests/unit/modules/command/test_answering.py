"""What `status` and `verify` take from the Deployment of a cluster's endpoint, as the platform renders it."""

import pytest

from penstock import Program, Service
from penstock.command import status
from penstock.command.state import State
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
