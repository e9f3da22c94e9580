"""What stands in front of an endpoint that may have no replica: it holds requests until there is one. Pure functions.

The endpoint's Service leads to the activator (`penstock_serving.activator`), and a second one to the replicas.
"""

from dataclasses import dataclass, field
from typing import Any

from penstock.kubernetes import kinds, pods
from penstock.kubernetes.pods import PodSpec, labels, pod
from penstock.platform import Program, Resources

METRICS_PORT = 9102
PATIENCE_SECONDS = 300
LEAVE_SECONDS, DRAIN_SECONDS = 5, 30


@dataclass(frozen=True)
class ActivatorArgs:
    """What an activator takes beside the endpoint's name."""

    stack: str
    image: str
    """The server's."""
    port: int
    """At which the endpoint is asked, and its replicas are."""
    callers: dict[str, Any] = field(default_factory=dict[str, Any])
    """Selector of the namespaces whose pods may ask."""
    replicas: dict[str, str] = field(default_factory=dict[str, str])
    """Labels of the replicas."""


def selector(endpoint: str, stack: str) -> dict[str, str]:
    """The labels by which its pods are found."""
    return pods.selector(stack, f"{endpoint}-activator")


def waiting(endpoint: str, namespace: str) -> str:
    """Prometheus' query of how many requests wait for a replica."""
    pods = f'namespace="{namespace}",pod=~"{endpoint}-activator-[a-z0-9]+-[a-z0-9]+"'
    return f"penstock_activator_waiting{{{pods}}}"


def objects(endpoint: str, args: ActivatorArgs) -> dict[str, dict[str, Any]]:
    """The manifests by what they are for."""
    name = f"{endpoint}-activator"
    own = labels(args.stack, name, "activator")
    return {
        "activator-policy": {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "labels": labels(args.stack, name, "policy")},
            "spec": {
                "podSelector": {"matchLabels": selector(endpoint, args.stack)},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [{"namespaceSelector": args.callers}], "ports": _ports(args.port, METRICS_PORT)}],
                "egress": [{"to": [{"podSelector": {"matchLabels": args.replicas}}], "ports": _ports(args.port)}],
            },
        },
        "replicas": kinds.service(
            {"name": f"{endpoint}-replicas", "labels": labels(args.stack, endpoint, "server")}, args.replicas, args.port
        ),
        "activator": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": own},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": selector(endpoint, args.stack)},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": {
                    "metadata": {"labels": own, "annotations": kinds.scraped(METRICS_PORT)},
                    "spec": {**_pod(endpoint, args), "terminationGracePeriodSeconds": LEAVE_SECONDS + DRAIN_SECONDS},
                },
            },
        },
    }


def _pod(endpoint: str, args: ActivatorArgs) -> dict[str, Any]:
    probe = {"tcpSocket": {"port": args.port}, "periodSeconds": 5}
    return pod(
        PodSpec(
            program=Program.SERVER,
            image=args.image,
            arguments=[
                *("--to", f"{endpoint}-replicas:{args.port}", "--host", "0.0.0.0", "--port", str(args.port)),
                *("--metrics-port", str(METRICS_PORT), "--patience", str(PATIENCE_SECONDS)),
            ],
            resources=Resources(0.1, 0.125),
            ports={"http": args.port, "metrics": METRICS_PORT},
            extra={
                "command": ["python", "-m", "penstock_serving.activator"],
                "readinessProbe": probe,
                "livenessProbe": {**probe, "periodSeconds": 10},
                "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE_SECONDS}}},
            },
        )
    )


def _ports(*numbers: int) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": number} for number in numbers]
