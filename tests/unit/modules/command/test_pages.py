"""How `penstock page` has a pod of a cluster's endpoint read a page."""

from typing import Any

import pytest

from penstock.command import pages
from penstock.command.state import State
from penstock.errors import PenstockError
from penstock.kubernetes.api import Api

KUBECONFIG = "apiVersion: v1\nkind: Config\ncurrent-context: gke\n"
WORKLOAD = {"penstock.dev/workload": "serve"}
KNATIVE = {"kind": "Service", "metadata": {"name": "serve-knative", "namespace": "penstock", "labels": WORKLOAD}}


def pod(name: str, ready: str, **metadata: str) -> dict[str, Any]:
    """One of Knative's, with its proxy beside the server."""
    spec = {"containers": [{"name": "serving"}, {"name": "queue-proxy"}]}
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": name, "labels": WORKLOAD, **metadata}, "spec": spec, "status": status}


@pytest.fixture
def state(monkeypatch):
    """A stack whose endpoint is Knative's, on a cluster with these pods."""

    def of(*pods):
        there = {("/api/v1/namespaces/penstock/pods", "penstock.dev/workload=serve"): list(pods)}
        monkeypatch.setattr(Api, "items", lambda _self, path, query: there[path, query["labelSelector"]])
        monkeypatch.setattr(Api, "__init__", lambda *_: None)
        made = {
            "pulumi:pulumi:Stack": {"report": "/artifacts/dataset/a/report.html"},
            "pulumi:providers:kubernetes": {"kubeconfig": KUBECONFIG},
            "kubernetes:serving.knative.dev/v1:Service": KNATIVE,
        }
        return State("prod", {"resources": [{"urn": f"urn::{t}", "type": t, "outputs": o} for t, o in made.items()]})

    return of


def test_it_is_read_in_the_server_of_a_ready_pod_whatever_makes_the_pods(kubectl, state):
    going = pod("serve-1", "True", deletionTimestamp="2026-01-01T00:00:00Z")
    found = state(going, pod("serve-2", "False"), pod("serve-3", "True"))
    assert pages.content(found, pages.Page.DATA) == b"<html>\n"
    asked = (kubectl / "asked").read_text().split()
    assert asked[2:] == [
        *("exec", "--namespace", "penstock", "serve-3", "--container", "serving"),
        *("--", "cat", "/artifacts/dataset/a/report.html"),
    ]


def test_where_no_pod_is_ready_that_is_told(kubectl, state):
    with pytest.raises(PenstockError, match=r"no pod of serve has read /artifacts/.*: none is ready"):
        pages.content(state(pod("serve-2", "False")), pages.Page.DATA)
    assert not (kubectl / "asked").exists()
