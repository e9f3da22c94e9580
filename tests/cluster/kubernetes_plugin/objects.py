"""What pulumi-kubernetes decides about an object before it asks the cluster."""

import hashlib
from typing import Any

from penstock.kubernetes import manifest

APPLY = "application/apply-patch+yaml"
AUTONAMED = "pulumi.com/autonamed"
RANDOM_DIGITS = 8
IMMUTABLE = {
    ("batch", "Job"): ("spec.selector", "spec.template"),
    ("apps", "Deployment"): ("spec.selector",),
    ("v1", "ConfigMap"): ("data", "binaryData"),
    ("v1", "Secret"): ("data", "stringData", "type"),
    ("v1", "PersistentVolumeClaim"): ("spec",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
}
"""What a change of makes another object of, beside its name and namespace."""


class Refused(Exception):
    """Inputs that the provider does not take."""


def checked(
    inputs: dict[str, Any], old: dict[str, Any], name: str, seed: bytes, namespace: str | None
) -> dict[str, Any]:
    """The inputs with the name and the namespace that the object will have."""
    for field in ("apiVersion", "kind"):
        if not isinstance(inputs.get(field), str):
            raise Refused(f"{name} has no {field}")
    if "status" in inputs:
        raise Refused(f"{name} has a status, which is the cluster's to write")
    metadata = dict(inputs.get("metadata") or {})
    if "name" not in metadata and "generateName" not in metadata:
        metadata["name"], autonamed = _automatic(old, name, seed)
        if autonamed:
            metadata["annotations"] = {**(metadata.get("annotations") or {}), AUTONAMED: "true"}
    if namespace and "namespace" not in metadata:
        metadata["namespace"] = namespace
    return {**inputs, "metadata": metadata}


def is_custom(inputs: dict[str, Any]) -> bool:
    """Whether the kind is none of Kubernetes' own: then inputs are compared with what the cluster made of the last.

    Of its own kinds the plugin knows which inputs mean the same; of others it does not.
    """
    return str(inputs.get("apiVersion")) not in manifest.BUILT_IN


def replacing(inputs: dict[str, Any], changed: list[str]) -> list[str]:
    """Those of the changed paths that make another object necessary."""
    kind = (str(inputs["apiVersion"]).partition("/")[0], inputs["kind"])
    fixed = ("apiVersion", "kind", "metadata.name", "metadata.namespace", *IMMUTABLE.get(kind, ()))
    return [path for path in changed if any(_within(path, each) for each in fixed)]


def is_autonamed(inputs: dict[str, Any]) -> bool:
    """Whether the provider chose the name."""
    return (inputs["metadata"].get("annotations") or {}).get(AUTONAMED) == "true"


def identity(inputs: dict[str, Any]) -> str:
    """The id: `namespace/name`, or the name of what is in no namespace."""
    metadata = inputs["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])


def _automatic(old: dict[str, Any], name: str, seed: bytes) -> tuple[str, bool]:
    before = old.get("metadata") or {}
    if before.get("name"):
        return before["name"], (before.get("annotations") or {}).get(AUTONAMED) == "true"
    digits = hashlib.sha256(seed).hexdigest()[:RANDOM_DIGITS]
    return f"{name[: 253 - RANDOM_DIGITS - 1]}-{digits}", True


def _within(path: str, field: str) -> bool:
    return path == field or path.startswith((f"{field}.", f"{field}["))
