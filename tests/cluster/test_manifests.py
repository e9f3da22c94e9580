"""Every manifest that the modules render, judged by a real API server that takes no unknown field."""

import pytest

from penstock.kubernetes.api import ApiError
from tests import manifests

GOOGLES = ("ComputeClass", "HealthCheckPolicy", "PodMonitoring")
"""Kinds that only a cluster of Google's knows: what Google declares of them is held in tests/static."""


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
