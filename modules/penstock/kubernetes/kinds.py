"""Objects that several parts of a stack make alike: pure functions."""

import hashlib
from collections.abc import Mapping
from typing import Any

from penstock.kubernetes.pods import labels, selector

DIGITS = 8


def named_by_content(name: str, content: str) -> str:
    """The name with a digest of what is in the object, so that another content is another object."""
    return f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:DIGITS]}"


def secret(name: str, metadata_labels: Mapping[str, str]) -> dict[str, Any]:
    """A Secret, without what it keeps."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": metadata_labels},
        "type": "Opaque",
    }


def way_out(name: str, stack: str, workload: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    """The NetworkPolicy by which the pods of a workload reach somebody else."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": labels(stack, workload, "policy")},
        "spec": {
            "podSelector": {"matchLabels": selector(stack, workload)},
            "policyTypes": ["Egress"],
            "egress": [rule],
        },
    }


def service(metadata: Mapping[str, Any], chosen: Mapping[str, str], port: int) -> dict[str, Any]:
    """A Service of the cluster's own, which need not have a pod behind it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        # The Deployment is waited for already. Where replicas go to zero, or come from there, there may be none
        # just now, and what would bring them can come later in the same `up`.
        "metadata": {**metadata, "annotations": {"pulumi.com/skipAwait": "true"}},
        "spec": {
            "type": "ClusterIP",
            "selector": chosen,
            "ports": [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}],
        },
    }


def scraped(port: int) -> dict[str, str]:
    """The annotations by which Prometheus, as its own chart configures it, finds pods."""
    asked = {"scrape": "true", "port": str(port), "path": "/metrics"}
    return {f"prometheus.io/{key}": value for key, value in asked.items()}
