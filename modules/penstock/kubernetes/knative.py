"""An endpoint as a Knative Service, which counts requests in flight and holds what comes at zero: pure functions.

Knative makes the pods, each with a proxy of Knative's (queue-proxy) before the server, and what leads there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.kubernetes import serving
from penstock.kubernetes.pods import labels
from penstock.kubernetes.serving import LONGEST_WINDOW, ServingArgs
from penstock.platform import Service

GROUP = "serving.knative.dev"
SERVICE = (f"{GROUP}/v1", "Service")
SYSTEM = "knative-serving"
"""The namespace of Knative's own pods."""
FEATURES = "config-features"
"""The ConfigMap there that says which fields of a pod its webhook takes."""
SCALING = "autoscaling.knative.dev"
INSIDE: Mapping[str, str] = {"networking.knative.dev/visibility": "cluster-local"}
"""The label of what is reached within the cluster only."""
PROXY_PORT, COUNT_PORT = 8012, 9090
"""Of each pod's queue-proxy: where requests come in, and where Knative's autoscaler reads how many are in flight."""
PROXY_RESOURCES: Mapping[str, tuple[str, str]] = {
    "cpu": ("25m", "1"),
    "memory": ("100Mi", "400Mi"),
    "ephemeral-storage": ("64Mi", "256Mi"),
}
"""Request and limit of queue-proxy, which has no memory by itself; the namespace's quota takes no such pod."""
REQUEST_SECONDS = 300
"""For so long a request may last, the start of a replica included; also what a pod that ends has for its last ones."""
OWN = ("runAsNonRoot", "runAsUser", "runAsGroup", "seccompProfile")
"""Of a pod's security, what a container may say of itself. Knative takes the rest (`fsGroup`) by a feature only."""


def named(name: str) -> str:
    """What an endpoint's Knative Service is called: Knative makes a Service of that name, which would be ours."""
    return f"{name}-knative"


def objects(name: str, service: Service, command: Sequence[str], args: ServingArgs) -> dict[str, dict[str, Any]]:
    """The manifests by what they are for."""
    knative = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SYSTEM}}}
    ways = [
        # Who asks comes by the ingress, or by Knative's activator; Prometheus reads at the server's own port.
        serving.way_in([serving.callers(args)], PROXY_PORT, service.port),
        serving.way_in([knative], PROXY_PORT, COUNT_PORT),
    ]
    found = {
        "knative": _service(name, service, command, args),
        "policy": serving.policy(name, args, ways),
    }
    if service.min_replicas > 1:
        found["budget"] = serving.budget(name, args)
    return found


def features(spec: Mapping[str, Any]) -> list[str]:
    """The features of Knative without which its webhook refuses a revision's `spec`."""
    volumes = spec["volumes"]
    claims = [each["persistentVolumeClaim"] for each in volumes if "persistentVolumeClaim" in each]
    asked = {
        "volumes-emptydir": any("emptyDir" in each for each in volumes),
        "persistent-volume-claim": bool(claims),
        "persistent-volume-write": not all(each.get("readOnly") for each in claims),
        "init-containers": "initContainers" in spec,
        "nodeselector": "nodeSelector" in spec,
        "tolerations": "tolerations" in spec,
    }
    return [f"kubernetes.podspec-{feature}" for feature, needed in asked.items() if needed]


def _service(name: str, service: Service, command: Sequence[str], args: ServingArgs) -> dict[str, Any]:
    template = serving.template(name, service, command, args)
    own = template["metadata"]
    return {
        "apiVersion": SERVICE[0],
        "kind": SERVICE[1],
        "metadata": {"name": named(name), "labels": {**labels(args.stack, name, "server"), **INSIDE}},
        "spec": {
            "template": {
                "metadata": {**own, "annotations": {**own["annotations"], **_annotations(service, args)}},
                "spec": _revision(template["spec"], service.port),
            },
            "traffic": [{"latestRevision": True, "percent": 100}],
        },
    }


def _annotations(service: Service, args: ServingArgs) -> dict[str, str]:
    scaling = {
        "class": "kpa.autoscaling.knative.dev",
        "metric": "concurrency",
        "target": str(args.requests_in_flight),
        # Else a replica is added at 70 % of that.
        "target-utilization-percentage": "100",
        "min-scale": str(service.min_replicas),
        "max-scale": str(service.max_replicas),
        "scale-down-delay": f"{min(round(service.idle_seconds), LONGEST_WINDOW)}s",
    }
    proxy = {
        f"{resource}-resource-{which}": value
        for resource, values in PROXY_RESOURCES.items()
        for which, value in zip(("request", "limit"), values, strict=True)
    }
    return {
        **{f"{SCALING}/{key}": value for key, value in scaling.items()},
        **{f"queue.sidecar.{GROUP}/{key}": value for key, value in proxy.items()},
        f"{GROUP}/progress-deadline": f"{args.timeout_seconds}s",
    }


def _revision(spec: Mapping[str, Any], port: int) -> dict[str, Any]:
    """What Knative takes of a server's pod: it ends, spreads and names the ports of pods itself."""
    context = {key: spec["securityContext"][key] for key in OWN}
    not_taken = ("securityContext", "terminationGracePeriodSeconds", "topologySpreadConstraints")
    kept = {key: value for key, value in spec.items() if key not in not_taken}
    (server,) = (_contained(each, context) for each in spec["containers"])
    first = [_contained(each, context) for each in spec.get("initContainers", ())]
    return {
        **kept,
        "containerConcurrency": 0,
        "timeoutSeconds": REQUEST_SECONDS,
        **({"initContainers": first} if first else {}),
        "containers": [{**server, "ports": [{"name": "http1", "containerPort": port}]}],
        "volumes": [_readable(each) for each in spec["volumes"]],
    }


def _contained(container: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in container.items() if key != "lifecycle"}
    return {**kept, "securityContext": {**container["securityContext"], **context}}


def _readable(volume: Mapping[str, Any]) -> dict[str, Any]:
    """A Secret for whom no group is given: a server's is a key that anybody may read."""
    return {**volume, "secret": {**volume["secret"], "defaultMode": 0o444}} if "secret" in volume else dict(volume)
