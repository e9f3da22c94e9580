"""A service of the platform as a Deployment, what scales it, and who may reach it: pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from penstock.kubernetes.pods import LABEL, Machine, PodSpec, labels, pod
from penstock.platform import Program, Resources, Service

DRAIN_SECONDS = 30
LEAVE_SECONDS = 5
"""For so long a pod that is to end goes on answering: until then there may be callers that have not heard of it."""
START_SECONDS = 180


class ScaleOn(str, Enum):
    """What the number of replicas follows."""

    CPU = "cpu"
    """Needs the cluster's metrics server."""
    REQUESTS = "requests"
    """Requests a second; needs an adapter that offers the rate of the pods' `penstock_requests_total`."""
    KEDA = "keda"
    """Requests a second, by KEDA from Prometheus: also down to zero."""


@dataclass(frozen=True)
class ServingArgs:
    """What a service takes beside the service itself."""

    stack: str
    image: str
    claim: str
    machine: Machine = field(default_factory=Machine)
    resources: Resources = field(default_factory=Resources)
    scale_on: ScaleOn = ScaleOn.CPU
    requests_per_second: int = 100
    """What one replica is to answer."""
    prometheus: str = ""
    """URL of the Prometheus that KEDA asks."""
    timeout_seconds: int = 2 * START_SECONDS
    """For how long `up` waits for its pods."""


def objects(name: str, service: Service, command: Sequence[str], args: ServingArgs) -> dict[str, dict[str, Any]]:
    """The manifests by what they are for."""
    found = {
        "deployment": _deployment(name, service, command, args),
        "service": _service(name, service, args),
        "policy": _edges(name, service, args),
    }
    if service.min_replicas > 1:
        found["budget"] = _budget(name, args)
    if args.scale_on is ScaleOn.KEDA:
        found["scaling"] = _scaled_object(name, service, args)
    elif service.max_replicas > service.min_replicas:
        found["scaling"] = _autoscaler(name, service, args)
    return found


def selector(name: str, args: ServingArgs) -> dict[str, str]:
    """The labels by which the pods of a service are found."""
    return {f"{LABEL}/workload": name, "app.kubernetes.io/instance": args.stack}


def _metadata(name: str, role: str, args: ServingArgs) -> dict[str, Any]:
    return {"name": name, "labels": labels(args.stack, name, role)}


def _deployment(name: str, service: Service, command: Sequence[str], args: ServingArgs) -> dict[str, Any]:
    def probe(path: str, **fields: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": service.port}, **fields}

    spec = PodSpec(
        program=service.program,
        image=args.image,
        # Within its pod every address is its own; who may reach it is the network policy's to say.
        arguments=[*command, "--host", "0.0.0.0", "--port", str(service.port)],
        resources=args.resources,
        machine=args.machine,
        claim=args.claim,
        writes=service.program is Program.TRAINER,
        ports={"http": service.port},
        extra={
            "startupProbe": probe(service.probe, periodSeconds=2, failureThreshold=START_SECONDS // 2),
            "readinessProbe": probe(service.probe, periodSeconds=5, timeoutSeconds=2),
            "livenessProbe": probe("/healthz", periodSeconds=10, timeoutSeconds=5),
            "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE_SECONDS}}},
        },
    )
    own = labels(args.stack, name, "server")
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(name, args)},
    }
    template = {
        **pod(spec),
        "terminationGracePeriodSeconds": LEAVE_SECONDS + DRAIN_SECONDS,
        "topologySpreadConstraints": [spread],
    }
    scaled = args.scale_on is ScaleOn.KEDA or service.max_replicas > service.min_replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            **_metadata(name, "server", args),
            "annotations": {"pulumi.com/timeoutSeconds": str(args.timeout_seconds)},
        },
        "spec": {
            # Where something scales it, the number is not ours to set back at each `up`.
            **({} if scaled else {"replicas": service.min_replicas}),
            "selector": {"matchLabels": selector(name, args)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "progressDeadlineSeconds": args.timeout_seconds,
            "template": {"metadata": {"labels": own}, "spec": template},
        },
    }


def _service(name: str, service: Service, args: ServingArgs) -> dict[str, Any]:
    # To a Service that nothing answers for yet, waiting would be in vain.
    patient = {"annotations": {"pulumi.com/skipAwait": "true"}} if service.min_replicas == 0 else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**_metadata(name, "server", args), **patient},
        "spec": {
            "type": "ClusterIP",
            "selector": selector(name, args),
            "ports": [{"name": "http", "port": service.port, "targetPort": service.port, "protocol": "TCP"}],
        },
    }


def _edges(name: str, service: Service, args: ServingArgs) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(name, "policy", args),
        "spec": {
            "podSelector": {"matchLabels": selector(name, args)},
            "policyTypes": ["Ingress"],
            # Every pod of the cluster, nobody outside: gateways and monitoring are pods too.
            "ingress": [
                {"from": [{"namespaceSelector": {}}], "ports": [{"protocol": "TCP", "port": service.port}]},
            ],
        },
    }


def _budget(name: str, args: ServingArgs) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(name, "budget", args),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(name, args)}},
    }


def _autoscaler(name: str, service: Service, args: ServingArgs) -> dict[str, Any]:
    cpu = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
    }
    target = {"type": "AverageValue", "averageValue": str(args.requests_per_second)}
    requests = {"type": "Pods", "pods": {"metric": {"name": "penstock_requests_per_second"}, "target": target}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(name, "scaling", args),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": service.min_replicas,
            "maxReplicas": service.max_replicas,
            "metrics": [cpu if args.scale_on is ScaleOn.CPU else requests],
        },
    }


def _scaled_object(name: str, service: Service, args: ServingArgs) -> dict[str, Any]:
    workload = f'penstock_requests_total{{{LABEL.replace(".", "_")}_workload="{name}"}}'
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": _metadata(name, "scaling", args),
        "spec": {
            "scaleTargetRef": {"name": name},
            "minReplicaCount": service.min_replicas,
            "maxReplicaCount": service.max_replicas,
            "triggers": [
                {
                    "type": "prometheus",
                    "metadata": {
                        "serverAddress": args.prometheus,
                        "query": f"sum(rate({workload}[1m]))",
                        "threshold": str(args.requests_per_second),
                    },
                }
            ],
        },
    }
