"""Every manifest that the modules render, judged by a real API server that takes no unknown field."""

import custom_kinds
import pytest
import yaml

from penstock.kubernetes.api import Api, ApiError
from tests import manifests
from tests.cluster.conftest import eventually

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GOOGLES = ("ComputeClass", "HealthCheckPolicy")
"""Kinds whose definitions are nowhere to be had but in a cluster of Google's."""


@pytest.fixture(scope="module")
def knowing(plane, api):
    """The API server when it knows KEDA's, Kueue's and the Gateway API's kinds, which it forgets again."""
    found = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in custom_kinds.files()]
    made = [each for each in found if api.get(f"{DEFINITIONS}/{each['metadata']['name']}") is None]
    for each in made:
        api.request("POST", DEFINITIONS, body=each)
    fresh = Api(str(plane.kubeconfig))
    for each in made:
        version = next(version["name"] for version in each["spec"]["versions"] if version["served"])
        kind = (f"{each['spec']['group']}/{version}", each["spec"]["names"]["kind"])
        eventually(lambda kind=kind: fresh.kind(*kind), f"the kind {kind[1]}")
    yield fresh
    for each in made:
        path = f"{DEFINITIONS}/{each['metadata']['name']}"
        api.request("DELETE", path)
        eventually(lambda path=path: api.get(path) is None, "it is forgotten")


def judged(api, namespace, manifest):
    kind = api.kind(manifest["apiVersion"], manifest["kind"])
    assert kind is not None, manifest["kind"]
    metadata = {**manifest["metadata"], **({"namespace": namespace} if kind.namespaced else {})}
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    return api.request("POST", kind.collection(namespace), query, {**manifest, "metadata": metadata})


def test_what_is_rendered_is_taken(knowing, namespace):
    for manifest in [*manifests.everything(), *manifests.serving(1, 1)]:
        if manifest["kind"] not in GOOGLES:
            assert judged(knowing, namespace, manifest)["metadata"]["name"] == manifest["metadata"]["name"]


def test_the_judge_refuses_a_field_it_does_not_know(api, namespace):
    manifest = manifests.serving(1, 1)[0]
    manifest["spec"]["template"]["spec"]["containers"][0]["securityContxt"] = {}
    with pytest.raises(ApiError, match=r'unknown field "spec.template.spec.containers\[0\].securityContxt"'):
        judged(api, namespace, manifest)
