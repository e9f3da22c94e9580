"""What a stack's namespace has before anything runs in it: pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.kubernetes.pods import labels
from penstock.platform import Program

QUOTA = {
    "pods": "2000",
    "requests.cpu": "2000",
    "requests.memory": "8Ti",
    "services.loadbalancers": "0",
    "services.nodeports": "0",
}

CLAIM = "artifacts"
"""The claim that is made where none is named."""
NODE_LOCAL_NAMES = "169.254.20.10/32"
"""Where NodeLocal DNSCache answers by its default; it is no pod that a selector would find."""


@dataclass(frozen=True)
class WorkspaceArgs:
    """What a namespace is made for."""

    stack: str
    namespace: str
    storage_class: str = ""
    """Empty: the cluster's default."""
    storage_gib: int = 50
    access_mode: str = "ReadWriteMany"
    quota: Mapping[str, str] = field(default_factory=lambda: dict(QUOTA))
    queue: str = ""
    """Name of a Kueue ClusterQueue; empty: no job waits for a quota."""


def namespace(args: WorkspaceArgs) -> dict[str, Any]:
    """The namespace; it takes no pod that is not restricted."""
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    own = {**labels(args.stack, "workspace", "namespace"), **levels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": args.namespace, "labels": own}}


def objects(args: WorkspaceArgs) -> dict[str, dict[str, Any]]:
    """What is in it from the start, by what it is for; the claim for artifacts is apart."""
    return {
        "deny": _policy("default-deny", args, {"policyTypes": ["Ingress", "Egress"]}),
        "names": _policy("allow-names", args, {"policyTypes": ["Egress"], "egress": [_names()]}),
        "quota": {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": _metadata("penstock", args),
            "spec": {"hard": dict(args.quota)},
        },
        **({"queue": _queue(args)} if args.queue else {}),
        **{f"account-{program.value}": _account(program, args) for program in Program},
    }


def claim(args: WorkspaceArgs) -> dict[str, Any]:
    """The claim that the artifact store lies on."""
    chosen = {"storageClassName": args.storage_class} if args.storage_class else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(CLAIM, args),
        "spec": {
            "accessModes": [args.access_mode],
            "resources": {"requests": {"storage": f"{args.storage_gib}Gi"}},
            **chosen,
        },
    }


def _metadata(name: str, args: WorkspaceArgs) -> dict[str, Any]:
    return {"name": name, "labels": labels(args.stack, "workspace", name)}


def _policy(name: str, args: WorkspaceArgs, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(name, args),
        "spec": {"podSelector": {}, **spec},
    }


def _queue(args: WorkspaceArgs) -> dict[str, Any]:
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta1",
        "kind": "LocalQueue",
        "metadata": _metadata(args.queue, args),
        "spec": {"clusterQueue": args.queue},
    }


def _names() -> dict[str, Any]:
    where = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {"to": [{"namespaceSelector": where}, {"ipBlock": {"cidr": NODE_LOCAL_NAMES}}], "ports": ports}


def _account(program: Program, args: WorkspaceArgs) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(program.value, args),
        "automountServiceAccountToken": False,
    }
