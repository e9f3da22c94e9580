"""How `penstock verify` has its checks run against a cluster that is known by its kubeconfig's text."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import testinfra
from testinfra.backend.kubectl import KubectlBackend

from penstock.command import verify
from penstock.command.state import State
from penstock.verification.target import Target

KUBECONFIG = """apiVersion: v1
kind: Config
current-context: gke
clusters: [{name: gke, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: gke, user: {}}]
contexts: [{name: gke, context: {cluster: gke, user: gke}}]
"""
POD = {
    "metadata": {"name": "server-1"},
    "spec": {"containers": [{"name": "server"}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}
ARGUMENTS = ["--name", "toy", "--model", "/artifacts/models/a", "--expect-digest", "sha256:a"]
DEPLOYMENT = {
    "metadata": {"name": "server", "namespace": "penstock"},
    "spec": {"template": {"spec": {"containers": [{"args": ARGUMENTS, "ports": [{"containerPort": 8500}]}]}}},
}


def resource(name, type_, outputs):
    return {"urn": f"urn::{name}", "type": type_, "outputs": outputs}


def stack(*scaling):
    provider = resource("cluster", "pulumi:providers:kubernetes", {"kubeconfig": KUBECONFIG})
    return State(
        "dev", {"resources": [provider, resource("server", "kubernetes:apps/v1:Deployment", DEPLOYMENT), *scaling]}
    )


OF_SERVER = {"scaleTargetRef": {"name": "server"}}
SCALER = resource(
    "hpa",
    "kubernetes:autoscaling/v2:HorizontalPodAutoscaler",
    {"spec": {**OF_SERVER, "minReplicas": 1, "maxReplicas": 3}},
)
KEDA = resource(
    "keda",
    "kubernetes:keda.sh/v1alpha1:ScaledObject",
    {"spec": {**OF_SERVER, "minReplicaCount": 0, "maxReplicaCount": 3}},
)


def test_the_pods_are_asked_by_kubectl_with_a_kubeconfig_that_is_gone_afterwards(monkeypatch):
    monkeypatch.setattr(Target, "pods", lambda _self, _workload: [POD])
    seen = {}

    def main(arguments, plugins):
        (option,) = [each for each in arguments if each.startswith("--hosts=")]
        asked = testinfra.get_host(option.partition("=")[2]).backend
        assert isinstance(asked, KubectlBackend)
        seen["file"] = Path(str(asked.kubeconfig))
        seen["text"], seen["mode"] = seen["file"].read_text(), seen["file"].stat().st_mode & 0o777
        seen["pod"] = (asked.name, asked.namespace, asked.container)
        return 0 if plugins else 1

    monkeypatch.setattr(verify, "pytest", SimpleNamespace(main=main, fixture=pytest.fixture))
    assert verify.verify(stack(SCALER), None) == 0
    assert seen["text"] == KUBECONFIG
    assert seen["mode"] == 0o600
    assert seen["pod"] == ("server-1", "penstock", "server")
    assert not seen["file"].exists()


@pytest.mark.parametrize(("scaling", "expected"), [(SCALER, (1, 3, True)), (KEDA, (0, 3, True))])
def test_the_range_is_that_of_what_scales_the_pods(scaling, expected):
    assert Target.of(stack(scaling)).ranges == {"server": expected}
