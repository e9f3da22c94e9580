"""The way from a Gateway of the cluster to the versions of an endpoint, each a workload of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.errors import PenstockError
from penstock.kubernetes.api import Api, ClusterError, Object
from penstock.kubernetes.pods import labels

GROUP = "gateway.networking.k8s.io"
ROUTE = (f"{GROUP}/v1", "HTTPRoute")
LATEST = "latest"
LARGEST = 1_000_000
"""The largest weight that an HTTPRoute takes."""
DIGITS = 12
ACCEPTED = 'jsonpath={.status.parents[0].conditions[?(@.type=="Accepted")].status}=True'
ACCEPTED_SECONDS = 120
"""So long the Gateway's controller may take to accept a route."""


def shares(traffic: Mapping[str, float] | None) -> dict[str, int]:
    """Weights as an HTTPRoute takes them, by version; a PenstockError for the shadow, which it does not know."""
    weights = traffic or {LATEST: 1}
    if shadow := next((version for version, weight in weights.items() if weight == 0), None):
        raise PenstockError(
            f"setting 'traffic' gives {shadow!r} the weight 0, the shadow, and an HTTPRoute sends each request to one "
            "version; leave that version out, or leave `gateway` out: then each pod's server splits, and has a shadow"
        )
    if all(weight == int(weight) <= LARGEST for weight in weights.values()):
        return {version: int(weight) for version, weight in weights.items()}
    total = sum(weights.values())
    return {version: max(1, round(LARGEST * weight / total)) for version, weight in weights.items()}


def workload(name: str, version: str) -> str:
    """What the Deployment and the Service of a version are called; the latest's are called as the endpoint."""
    return name if version == LATEST else f"{name}-{version.removeprefix('sha256:')[:DIGITS]}"


def route(name: str, stack: str, gateway: str, host: str, port: int, weights: Mapping[str, int]) -> dict[str, Any]:
    """The HTTPRoute, made when the Gateway has accepted it; `gateway` is `namespace/name`, `weights` are Services'."""
    space, _, parent = gateway.partition("/")
    return {
        "apiVersion": ROUTE[0],
        "kind": ROUTE[1],
        "metadata": {
            "name": name,
            "labels": labels(stack, name, "route"),
            "annotations": {"pulumi.com/waitFor": ACCEPTED, "pulumi.com/timeoutSeconds": str(ACCEPTED_SECONDS)},
        },
        "spec": spec({"namespace": space, "name": parent}, host, port, weights),
    }


def spec(parent: Mapping[str, str], host: str | None, port: int, weights: Mapping[str, int]) -> dict[str, Any]:
    """An HTTPRoute's `spec`: all that comes for a host, or for any, to Services by weights."""
    backends: list[dict[str, Any]] = [{"name": name, "port": port, "weight": each} for name, each in weights.items()]
    if len(backends) == 1:
        del backends[0]["weight"]
    return {
        "parentRefs": [dict(parent)],
        **({"hostnames": [host]} if host else {}),
        "rules": [{"backendRefs": backends}],
    }


def callers(gateway: str, namespaces: Sequence[str]) -> Sequence[str]:
    """The namespaces whose pods may ask the servers, the Gateway's among them; none: every one."""
    return sorted({*namespaces, gateway.partition("/")[0]}) if namespaces and gateway else namespaces


def url(api: Api, gateway: str, host: str, namespace: str, own: Mapping[str, str]) -> str:
    """Where an endpoint in the namespace will be asked.

    `own` are the labels that the namespace has at least. Raises a ClusterError where the Gateway is not there, takes no
    HTTPRoute of that namespace, or has no address yet.
    """
    space, _, name = gateway.partition("/")
    at_cluster = f"the cluster of context {api.context!r} ({api.server})"
    found = api.get(f"/apis/{ROUTE[0]}/namespaces/{space}/gateways/{name}")
    if found is None:
        raise ClusterError(f"{at_cluster} has no Gateway {name!r} in namespace {space!r}, which `gateway` names")
    live = api.get(f"/api/v1/namespaces/{namespace}") or {"metadata": {}}
    known = {**live["metadata"].get("labels", {}), **own, "kubernetes.io/metadata.name": namespace}
    listeners: list[Object] = found["spec"]["listeners"]
    reasons = {each["name"]: _refusal(each, host, known, namespace == space) for each in listeners}
    taking = [each for each in listeners if not reasons[each["name"]]]
    if not taking:
        told = "".join(f"\n  listener {each} {why}" for each, why in reasons.items())
        raise ClusterError(f"{at_cluster} has no listener at Gateway {gateway} for a route of {namespace}:{told}")
    chosen = next((each for each in taking if each["protocol"] == "HTTPS"), taking[0])
    addresses = found.get("status", {}).get("addresses") or [{"value": ""}]
    at = host or chosen.get("hostname") or addresses[0]["value"]
    if not at:
        raise ClusterError(
            f"{at_cluster} has no address for Gateway {gateway} yet; see why its controller gives it none, or name the "
            "host that clients ask with the setting `gateway_host`"
        )
    scheme, usual = ("https", 443) if chosen["protocol"] == "HTTPS" else ("http", 80)
    at = f"[{at}]" if ":" in at else at
    return f"{scheme}://{at}" + ("" if chosen["port"] == usual else f":{chosen['port']}")


def _refusal(listener: Object, host: str, known: Mapping[str, str], same: bool) -> str:
    """Why a listener does not take the route; empty: it does."""
    allowed, name = listener.get("allowedRoutes", {}), listener.get("hostname", "")
    spaces, kinds = allowed.get("namespaces", {}), [each["kind"] for each in allowed.get("kinds", [])]
    whence = spaces.get("from", "Same")
    if listener["protocol"] not in ("HTTP", "HTTPS"):
        return f"speaks {listener['protocol']}"
    if kinds and ROUTE[1] not in kinds:
        return f"takes routes of the kind {', '.join(kinds)} only"
    if whence == "Same" and not same:
        return "takes routes of its own namespace only"
    if whence == "Selector" and not _selected(spaces.get("selector", {}), known):
        return f"takes routes of namespaces with other labels only: {spaces['selector']}"
    if name.startswith("*") and not host:
        return f"is for {name}: name the host with the setting `gateway_host`"
    if name and host and name != host and not (name.startswith("*.") and host.endswith(name[1:])):
        return f"is for {name}"
    return ""


def _selected(selector: Object, known: Mapping[str, str]) -> bool:
    """Whether a selector takes a namespace with these labels."""

    def holds(asked: Object) -> bool:
        key, values = asked["key"], asked.get("values", [])
        if asked["operator"] in ("Exists", "DoesNotExist"):
            return (key in known) == (asked["operator"] == "Exists")
        return (known.get(key) in values) == (asked["operator"] == "In")

    same = selector.get("matchLabels", {}).items() <= known.items()
    return same and all(holds(each) for each in selector.get("matchExpressions", []))
