"""A service of the platform as a Deployment, what scales it, and who may reach it: pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from penstock.errors import PenstockError
from penstock.kubernetes import activating, keys, kinds, pods, versions
from penstock.kubernetes.pods import OBSERVATIONS, PLAN, Machine, PodSpec, labels, pod
from penstock.platform import Program, Resources, Service

DRAIN_SECONDS = 30
LEAVE_SECONDS = 5
"""For so long a pod that is to end goes on answering: until then there may be callers that have not heard of it."""
START_SECONDS = 180
ASKING = "predict|infer|grpc"
"""Routes that are asked by clients; probes and Prometheus itself ask others, for ever."""
LONGEST_WINDOW = 3600
"""For so many seconds at most an HPA may look back."""
POLL_SECONDS = 5


class ScaleOn(str, Enum):
    """What the number of replicas follows."""

    CPU = "cpu"
    """Needs the cluster's metrics server."""
    REQUESTS = "requests"
    """Requests a second; needs an adapter that offers the rate of the pods' `penstock_requests_total`."""
    KEDA = "keda"
    """Requests a second, by KEDA from Prometheus: also down to zero, where `wake_query` says when to come back."""
    IN_FLIGHT = "in-flight"
    """Requests that are not answered yet, in the same way: where some take much longer than others."""
    KNATIVE = "knative"
    """The same, by Knative, which counts them itself and makes the pods: also down to zero, where it holds requests."""

    @property
    def by_keda(self) -> bool:
        """Whether KEDA looks after the replicas."""
        return self in (ScaleOn.KEDA, ScaleOn.IN_FLIGHT)


@dataclass(frozen=True)
class ServingArgs:
    """What a service takes beside the service itself."""

    stack: str
    image: str
    claim: str
    namespace: str = ""
    """By which Prometheus tells its pods from another stack's."""
    machine: Machine = field(default_factory=Machine)
    resources: Resources = field(default_factory=Resources)
    scale_on: ScaleOn = ScaleOn.CPU
    requests_per_second: int = 100
    """What one replica is to answer."""
    requests_in_flight: int = 16
    """What one replica is to have unanswered, where `scale_on` is `in-flight` or `knative`."""
    prometheus: str = ""
    """URL of the Prometheus that KEDA asks, which must scrape the pods and label their series `namespace` and `pod`."""
    wake_query: str = ""
    """For zero replicas: a query that is above 0 while somebody in front has requests for them; empty: an activator,
    made here, is in front."""
    plan: str = ""
    """Name of the ConfigMap with the plan by which its servers split the traffic; empty: they answer with one model."""
    keys: str = ""
    """Name of the Secret with the keys that its arguments name."""
    caller_namespaces: Sequence[str] = ()
    """Namespaces whose pods may ask it; none: every one."""
    observations: str = ""
    """A folder of the claim in which all replicas leave what they observed; empty: each keeps it to itself."""
    timeout_seconds: int = 2 * START_SECONDS
    """For how long `up` waits for its pods."""


def objects(name: str, service: Service, command: Sequence[str], args: ServingArgs) -> dict[str, dict[str, Any]]:
    """The manifests by what they are for; a range that nothing could follow is a PenstockError."""
    if wrong := _unscalable(service, args):
        raise PenstockError(wrong)
    held = [{"podSelector": {"matchLabels": activating.selector(name, args.stack)}}] if _held(service, args) else []
    # Pods of the cluster, nobody outside: gateways and monitoring are pods too.
    ways = [way_in([callers(args), *held], service.port)]
    found = {
        "deployment": _deployment(name, service, command, args),
        "service": _service(name, service, args),
        "policy": policy(name, args, ways),
    }
    if held:
        own = activating.ActivatorArgs(
            args.stack, args.image, service.port, _named(args.caller_namespaces), selector(name, args)
        )
        found |= activating.objects(name, own)
    if service.min_replicas > 1:
        found["budget"] = budget(name, args)
    if args.scale_on.by_keda:
        found["scaling"] = _scaled_object(name, service, args)
    elif service.max_replicas > service.min_replicas:
        found["scaling"] = _autoscaler(name, service, args)
    return found


def selector(name: str, args: ServingArgs) -> dict[str, str]:
    """The labels by which the pods of a service are found."""
    return pods.selector(args.stack, name)


def _unscalable(service: Service, args: ServingArgs) -> str:
    if args.scale_on.by_keda and not args.prometheus:
        return (
            f"scale_on is {args.scale_on.value!r}, which asks a Prometheus; name its URL with the setting `prometheus`"
        )
    if service.min_replicas > 0:
        return ""
    if not args.scale_on.by_keda:
        return (
            f"min_replicas is 0, and scale_on {args.scale_on.value!r} keeps one replica at least; set min_replicas to "
            "1, or scale_on to 'keda', 'in-flight' or 'knative'"
        )
    return ""


def _held(service: Service, args: ServingArgs) -> bool:
    """Whether requests that come at zero are held here; a `wake_query` says that somebody in front does."""
    return service.min_replicas == 0 and not args.wake_query


def _metadata(name: str, role: str, args: ServingArgs) -> dict[str, Any]:
    return {"name": name, "labels": labels(args.stack, name, role)}


def template(name: str, service: Service, command: Sequence[str], args: ServingArgs) -> dict[str, Any]:
    """The pods that serve: metadata and `spec` of each."""

    def probe(path: str, **fields: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": service.port}, **fields}

    spec = PodSpec(
        program=service.program,
        image=args.image,
        # Within its pod every address is its own; who may reach it is the network policy's to say.
        arguments=[*_asked(service, command, args), "--host", "0.0.0.0", "--port", str(service.port)],
        resources=args.resources,
        machine=args.machine,
        claim=args.claim,
        plan=args.plan,
        keys=args.keys,
        observations=args.observations,
        writes=service.program is Program.TRAINER,
        ports={"http": service.port},
        extra={
            **({"command": ["python", "-m", "penstock_serving.supervisor"]} if args.plan else {}),
            "startupProbe": probe(service.probe, periodSeconds=2, failureThreshold=START_SECONDS // 2),
            "readinessProbe": probe(service.probe, periodSeconds=5, timeoutSeconds=2),
            "livenessProbe": probe("/healthz", periodSeconds=10, timeoutSeconds=5),
            "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE_SECONDS}}},
        },
    )
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(name, args)},
    }
    made = {
        **pod(spec),
        "terminationGracePeriodSeconds": LEAVE_SECONDS + DRAIN_SECONDS,
        "topologySpreadConstraints": [spread],
    }
    own = labels(args.stack, name, "server")
    return {"metadata": {"labels": own, "annotations": kinds.scraped(service.port)}, "spec": made}


def _deployment(name: str, service: Service, command: Sequence[str], args: ServingArgs) -> dict[str, Any]:
    scaled = args.scale_on.by_keda or service.max_replicas > service.min_replicas
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
            "template": template(name, service, command, args),
        },
    }


def _asked(service: Service, command: Sequence[str], args: ServingArgs) -> Sequence[str]:
    """The server's own arguments, or those of the supervisor whose worker is told by the plan what to serve."""
    watched = ["--observations", OBSERVATIONS] if args.observations else []
    if service.verify_key:
        watched += ["--verify-key", keys.in_pod(service.verify_key)]
    if not args.plan:
        return [*command, *watched]
    return ["--plan", f"{PLAN}/{versions.FILE}", "--folder", "/tmp/endpoint", *service.monitoring, *watched]


def _service(name: str, service: Service, args: ServingArgs) -> dict[str, Any]:
    chosen = activating.selector(name, args.stack) if _held(service, args) else selector(name, args)
    return kinds.service(_metadata(name, "server", args), chosen, service.port)


def callers(args: ServingArgs) -> dict[str, Any]:
    """Who may ask, as a policy names them."""
    return {"namespaceSelector": _named(args.caller_namespaces)}


def way_in(whence: Sequence[Mapping[str, Any]], *ports: int) -> dict[str, Any]:
    """A policy's rule: those pods reach those ports."""
    return {"from": list(whence), "ports": [{"protocol": "TCP", "port": port} for port in ports]}


def policy(name: str, args: ServingArgs, ways: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The NetworkPolicy by which the servers are reached."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(name, "policy", args),
        "spec": {
            "podSelector": {"matchLabels": selector(name, args)},
            "policyTypes": ["Ingress"],
            "ingress": list(ways),
        },
    }


def _named(namespaces: Sequence[str]) -> dict[str, Any]:
    if not namespaces:
        return {}
    return {
        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": sorted(namespaces)}]
    }


def budget(name: str, args: ServingArgs) -> dict[str, Any]:
    """The PodDisruptionBudget of the servers."""
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
            "behavior": _slowly(service),
        },
    }


def _slowly(service: Service) -> dict[str, Any]:
    """A replica goes only when none of the last `idle_seconds` had need of it."""
    return {"scaleDown": {"stabilizationWindowSeconds": min(round(service.idle_seconds), LONGEST_WINDOW)}}


def _scaled_object(name: str, service: Service, args: ServingArgs) -> dict[str, Any]:
    pods = f'namespace="{args.namespace}",pod=~"{name}-[a-z0-9]+-[a-z0-9]+"'
    rate = f'sum(rate(penstock_requests_total{{{pods},route=~"{ASKING}"}}[1m]))'
    if args.scale_on is ScaleOn.IN_FLIGHT:
        in_flight = f"sum(avg_over_time(penstock_requests_in_flight{{{pods}}}[1m]))"
        triggers = [_trigger(in_flight, args.requests_in_flight, args)]
        if service.min_replicas == 0:
            # Short requests are between two looks, and few of them would look like none.
            triggers.append(_trigger(f"clamp_max({rate}, 1)", 1, args))
    else:
        triggers = [_trigger(rate, args.requests_per_second, args)]
    if service.min_replicas == 0:
        wake = args.wake_query or activating.waiting(name, args.namespace)
        triggers.append(_trigger(f"clamp_max(sum({wake}), 1)", 1, args))
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": _metadata(name, "scaling", args),
        "spec": {
            "scaleTargetRef": {"name": name},
            "minReplicaCount": service.min_replicas,
            "maxReplicaCount": service.max_replicas,
            "pollingInterval": POLL_SECONDS,
            "cooldownPeriod": round(service.idle_seconds),
            # When it goes while there are none, nobody else would bring them back.
            "advanced": {
                "restoreToOriginalReplicaCount": True,
                "horizontalPodAutoscalerConfig": {"behavior": _slowly(service)},
            },
            "triggers": triggers,
        },
    }


def _trigger(query: str, threshold: int, args: ServingArgs) -> dict[str, Any]:
    asked = {"serverAddress": args.prometheus, "query": query, "threshold": str(threshold)}
    return {"type": "prometheus", "metadata": asked}
