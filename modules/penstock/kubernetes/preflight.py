"""What can be known before anything is deployed: asked of the cluster in every preview, answered in words."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.kubernetes import gateways, knative
from penstock.kubernetes.api import Api, ClusterError, Object, Unreachable
from penstock.kubernetes.pods import OWNER, Machine
from penstock.kubernetes.serving import ScaleOn

JOB_SET = ("jobset.x-k8s.io/v1alpha2", "JobSet")
KUEUE = "kueue.x-k8s.io"
QUEUE = (f"{KUEUE}/v1beta1", "LocalQueue")
SCALED = ("keda.sh/v1alpha1", "ScaledObject")
ROUTE = gateways.ROUTE
VERSIONS: Mapping[tuple[str, str], str] = {
    JOB_SET: "0.12.0",
    QUEUE: "0.14.0",
    SCALED: "2.16.1",
    ROUTE: "1.2.1",
    knative.SERVICE: "1.21.0",
}
"""What the tests run, and what is installed where nobody has installed another."""
RELEASES = "https://github.com/{0}/releases/download/v{1}"
INSTALL: Mapping[tuple[str, str], str] = {
    JOB_SET: f"{RELEASES.format('kubernetes-sigs/jobset', VERSIONS[JOB_SET])}/manifests.yaml",
    QUEUE: f"{RELEASES.format('kubernetes-sigs/kueue', VERSIONS[QUEUE])}/manifests.yaml",
    SCALED: f"{RELEASES.format('kedacore/keda', VERSIONS[SCALED])}/keda-{VERSIONS[SCALED]}.yaml",
    ROUTE: f"{RELEASES.format('kubernetes-sigs/gateway-api', VERSIONS[ROUTE])}/standard-install.yaml",
    knative.SERVICE: "https://github.com/knative/serving/releases/download/"
    f"knative-v{VERSIONS[knative.SERVICE]}/serving-core.yaml",
}
"""Kinds that a cluster does not bring along, and what `kubectl apply --server-side -f` installs them."""
WRITTEN: tuple[tuple[str, str], ...] = (
    ("", "serviceaccounts"),
    ("", "persistentvolumeclaims"),
    ("", "resourcequotas"),
    ("", "configmaps"),
    ("", "services"),
    ("apps", "deployments"),
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("jobset.x-k8s.io", "jobsets"),
)
ALSO: Mapping[tuple[str, str], tuple[str, str]] = {
    QUEUE: (KUEUE, "localqueues"),
    SCALED: ("keda.sh", "scaledobjects"),
    ROUTE: (gateways.GROUP, "httproutes"),
    knative.SERVICE: (knative.GROUP, "services"),
}
"""What is written besides, where a kind is asked for."""
SECRETS = ("", "secrets")
"""Written besides, where something is secret."""
KUBERNETES = (1, 31)
PATTERNS = "onJobFailureMessagePatterns"
"""Of a JobSet's rules for failures: what it has since 0.12."""
JUDGES = ("batch", "cronjobs")
"""Written besides, where a monitor judges what arrived."""
STORES = ("apps", "statefulsets")
"""Written besides, where a study's database is made."""
VERBS = ("create", "get", "list", "watch", "patch", "delete")
"""What pulumi-kubernetes does to what it makes; it waits for it to be there, and to be gone, by watching."""
READ = ("get", "list", "watch")
WATCHED: tuple[tuple[str, str], ...] = (("", "pods"), ("", "events"), ("apps", "replicasets"))
"""Read to know how jobs and Deployments go, and why they do not."""
HELD = (KUEUE, "workloads")
"""Listed to know what a queue holds a job for."""
WHOLE = ("create", "list", "watch")
"""Verbs that have no one object: a right that names its object does not hold for them."""
ON_BY_ITSELF: Mapping[str, str] = {"kubernetes.podspec-volumes-emptydir": "enabled"}
"""Of the features that a server may need, those that Knative has where nothing is said of them."""
METRICS: Mapping[ScaleOn, tuple[tuple[str, ...], str]] = {
    ScaleOn.CPU: (
        ("metrics.k8s.io/v1beta1",),
        "it has no metrics server, or one that does not answer; install it with `kubectl apply -f "
        "https://github.com/kubernetes-sigs/metrics-server/releases/download/v0.8.0/components.yaml`",
    ),
    ScaleOn.REQUESTS: (
        ("custom.metrics.k8s.io/v1beta2", "custom.metrics.k8s.io/v1beta1"),
        "it has no metrics adapter, or one that does not answer; install one, such as prometheus-adapter, that offers "
        "`penstock_requests_per_second` of pods",
    ),
}
"""The APIs of which one tells an autoscaler what it follows, and what is wrong where there is none."""


@dataclass(frozen=True)
class Needs:
    """What a stack needs of its cluster."""

    stack: str
    namespace: str
    kinds: tuple[tuple[str, str], ...] = (JOB_SET,)
    """Kinds beside Kubernetes' own."""
    machines: Mapping[str, Machine] = field(default_factory=dict[str, Machine])
    autoscaled: bool = False
    """Nodes come when they are asked for, so that one that is not there yet is no fault."""
    storage_class: str = ""
    data_claim: str = ""
    artifacts_claim: str = ""
    queue: str = ""
    """A Kueue ClusterQueue."""
    gateway: str = ""
    """A Gateway, as `namespace/name`."""
    exclusive_topology: str = ""
    """A node label by which the queue must be able to place jobs."""
    secrets: bool = False
    """Whether it keeps a database's password there; of keys and a webhook, `check_secrets` asks."""
    watched: bool = False
    """Whether a monitor judges what its endpoint observed."""
    database: bool = False
    """Whether it makes a database there."""


def check(api: Api, needs: Needs) -> None:
    """Raises a ClusterError with everything that is missing, one a line."""
    wrong = [*_versions(api), *_kinds(api, needs), *_namespace(api, needs)]
    wrong += [*missing(api, needs), *_storage(api, needs)]
    wrong += [*_machines(api, needs), *_own_objects(api, needs)] if not wrong else []
    if wrong:
        raise ClusterError(
            f"the cluster of context {api.context!r} ({api.server}) cannot take it:\n" + "\n".join(wrong)
        )


def asked(needs: Needs) -> list[tuple[str, str, str, str, str]]:
    """All that a stack does in its cluster: group, plural, verb, namespace, and the object's name where it has one."""
    space = needs.namespace
    found = [("", "namespaces", verb, "", "" if verb in WHOLE else space) for verb in VERBS]
    written = [*WRITTEN, *(ALSO[kind] for kind in needs.kinds if kind in ALSO)]
    written += [SECRETS] if needs.secrets else []
    written += [JUDGES] if needs.watched else []
    written += [STORES] if needs.database else []
    found += [(group, plural, verb, space, "") for group, plural in written for verb in VERBS]
    found += [(group, plural, verb, space, "") for group, plural in WATCHED for verb in READ]
    found += [(*HELD, "list", space, "")] if needs.queue else []
    at, _, name = needs.gateway.partition("/")
    return [*found, *([(gateways.GROUP, "gateways", "get", at, name)] if name else [])]


def missing(api: Api, needs: Needs) -> list[str]:
    """What of it one may not do, a kind a line."""
    # An administrator, the most frequent case, is one question.
    if _may(api, "*", "*", "*", ""):
        return []
    found: dict[str, list[str]] = {}
    for group, plural, verb, namespace, name in asked(needs):
        if not _may(api, verb, group, plural, namespace, name):
            what = f"{plural}.{group}" if group else plural
            found.setdefault(f"{what} in namespace {namespace or needs.namespace}", []).append(verb)
    return [f"  you may not {', '.join(verbs)} {what}" for what, verbs in found.items()]


def check_scaling(api: Api, scale_on: ScaleOn) -> None:
    """Raises a ClusterError where an autoscaler would have nothing to follow."""
    versions, absent = METRICS[scale_on]
    if not any(_answers(api, version) for version in versions):
        raise ClusterError(
            f"the cluster of context {api.context!r} ({api.server}) cannot scale an endpoint: {absent}; or set "
            "`scale_on` to another, or max_replicas to min_replicas"
        )


def check_secrets(api: Api, namespace: str) -> None:
    """Raises a ClusterError where one may not keep something secret in the namespace."""
    lacking = [verb for verb in VERBS if not _may(api, verb, *SECRETS, namespace)]
    if lacking:
        raise ClusterError(
            f"the cluster of context {api.context!r} ({api.server}) cannot take it: you may not {', '.join(lacking)} "
            f"secrets in namespace {namespace}"
        )


def check_features(api: Api, features: Sequence[str]) -> None:
    """Raises a ClusterError where Knative's webhook would refuse a server's pod; who may not look is told by that."""
    if not _may(api, "get", "", "configmaps", knative.SYSTEM, knative.FEATURES):
        return
    found = api.get(f"/api/v1/namespaces/{knative.SYSTEM}/configmaps/{knative.FEATURES}") or {}
    known = {**ON_BY_ITSELF, **found.get("data", {})}
    if off := [each for each in features if str(known.get(each)).lower() != "enabled"]:
        told = json.dumps({"data": dict.fromkeys(off, "enabled")})
        raise ClusterError(
            f"the cluster of context {api.context!r} ({api.server}) takes no such pod by Knative, which lacks "
            f"{', '.join(off)}; let it take them with `kubectl patch configmap {knative.FEATURES} --namespace "
            f"{knative.SYSTEM} --type merge --patch '{told}'`, or set `scale_on` to another"
        )


def check_topology(api: Api, topology: str, machines: Mapping[str, Machine], replicas: Mapping[str, int]) -> None:
    """Raises a ClusterError where no value of a node label has room for all replicas of a role with accelerators.

    `topology` is the label of which each role takes one value for itself. Part of them would get their nodes, and wait
    for the others for ever.
    """
    if not _may(api, "list", "", "nodes", ""):
        return
    nodes = api.items("/api/v1/nodes")
    wrong: list[str] = []
    for role, machine in machines.items():
        if not machine.accelerators or not replicas.get(role):
            continue
        room: dict[str, int] = {}
        for node in nodes:
            labels = node["metadata"].get("labels", {})
            if topology in labels and machine.node_selector.items() <= labels.items():
                fits = int(node["status"]["allocatable"].get(machine.accelerator, 0)) // machine.accelerators
                room[labels[topology]] = room.get(labels[topology], 0) + fits
        largest = max(room, key=lambda value: room[value], default="")
        if room.get(largest, 0) < replicas[role]:
            most = f"the largest, {largest}, has room for {room[largest]}" if largest else "no node has that label"
            wrong.append(
                f"  role {role} asks for {replicas[role]} x {machine.accelerators} {machine.accelerator} on nodes of "
                f"one {topology}, and there is none: {most}"
            )
    if wrong:
        raise ClusterError(
            f"the cluster of context {api.context!r} ({api.server}) has no such slice:\n" + "\n".join(wrong)
        )


def _answers(api: Api, version: str) -> bool:
    try:
        return api.get(f"/apis/{version}") is not None
    except Unreachable:
        # The API server passes such a question on to whom it belongs.
        return False


def _versions(api: Api) -> list[str]:
    """What is there, but older than what is needed of it."""
    wrong: list[str] = []
    found = api.request("GET", "/version")
    version = (int(found["major"]), int(str(found["minor"]).rstrip("+")))
    if version < KUBERNETES:
        wrong.append(f"  it runs Kubernetes {found['gitVersion']}; 1.31 or a later one is needed")
    known = api.get(f"/openapi/v3/apis/{JOB_SET[0]}") if api.kind(*JOB_SET) else None
    if known is not None and PATTERNS not in json.dumps(known):
        wrong.append(
            f"  its JobSet controller is older than {VERSIONS[JOB_SET]}; bring it up to date with "
            f"`kubectl apply --server-side -f {INSTALL[JOB_SET]}`"
        )
    return wrong


def _kinds(api: Api, needs: Needs) -> list[str]:
    return [
        f"  it does not know the kind {kind} ({version}); install it with "
        f"`kubectl apply --server-side -f {INSTALL[version, kind]}`"
        for version, kind in needs.kinds
        if api.kind(version, kind) is None
    ]


def _namespace(api: Api, needs: Needs) -> list[str]:
    if not _may(api, "get", "", "namespaces", "", needs.namespace):
        return []  # told by `missing`
    found = api.get(f"/api/v1/namespaces/{needs.namespace}")
    if found is None:
        return []
    if found["status"].get("phase") == "Terminating":
        left = [str(each["message"]) for each in found["status"].get("conditions", []) if each["status"] == "True"]
        return [
            f"  namespace {needs.namespace} is being deleted; wait for it to be gone"
            + "".join(f"\n    {message}" for message in left)
        ]
    owner = found["metadata"].get("labels", {}).get(OWNER)
    if owner != needs.stack:
        whose = f"stack {owner!r}" if owner else "somebody else"
        return [
            f"  namespace {needs.namespace} is there already and belongs to {whose}; choose another with the "
            f"setting `namespace`{'' if owner else f', or give it to the stack: `{_give(needs)}`'}"
        ]
    return []


def _give(needs: Needs) -> str:
    return f"kubectl label namespace {needs.namespace} {OWNER}={needs.stack}"


def _may(api: Api, verb: str, group: str, plural: str, namespace: str, name: str = "") -> bool:
    attributes = {"verb": verb, "group": group, "resource": plural, "namespace": namespace, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return bool(api.request("POST", path, body=review)["status"]["allowed"])


def _storage(api: Api, needs: Needs) -> list[str]:
    made = not needs.artifacts_claim or needs.database
    if not made or not _may(api, "list", "storage.k8s.io", "storageclasses", ""):
        return []
    found = api.items("/apis/storage.k8s.io/v1/storageclasses")
    names = [str(each["metadata"]["name"]) for each in found]
    offered = ", ".join(sorted(names)) or "none"
    if needs.storage_class:
        known = needs.storage_class in names
        return [] if known else [f"  it has no storage class {needs.storage_class!r}; it has: {offered}"]
    default = "storageclass.kubernetes.io/is-default-class"
    if any(each["metadata"].get("annotations", {}).get(default) == "true" for each in found):
        return []
    return [f"  it has no default storage class; choose one with the setting `storage_class`; it has: {offered}"]


def _machines(api: Api, needs: Needs) -> list[str]:
    wanted = {
        role: machine for role, machine in needs.machines.items() if machine.accelerators or machine.node_selector
    }
    if not wanted or needs.autoscaled or not _may(api, "list", "", "nodes", ""):
        return []
    nodes = api.items("/api/v1/nodes")
    wrong: list[str] = []
    for role, machine in wanted.items():
        labelled = [
            each for each in nodes if machine.node_selector.items() <= each["metadata"].get("labels", {}).items()
        ]
        fitting = [
            each
            for each in labelled
            if int(each["status"]["allocatable"].get(machine.accelerator, 0)) >= machine.accelerators
        ]
        if not fitting:
            selector = "".join(f" labelled {key}={value}" for key, value in machine.node_selector.items())
            asked = f" with {machine.accelerators} x {machine.accelerator}" if machine.accelerators else ""
            most = max((int(each["status"]["allocatable"].get(machine.accelerator, 0)) for each in nodes), default=0)
            has = f"the most any of its {len(nodes)} nodes has of {machine.accelerator} is {most}"
            wrong.append(
                f"  role {role} asks for a node{asked}{selector}, and it has none: {has}. Where nodes are made "
                "on demand, say so with the setting `autoscaled`"
            )
    return wrong


def _own_objects(api: Api, needs: Needs) -> list[str]:
    wrong: list[str] = []
    inside = f"/namespaces/{needs.namespace}"
    claims = {"data_claim": needs.data_claim, "artifacts_claim": needs.artifacts_claim}
    for setting, claim in claims.items():
        if claim and api.get(f"/api/v1{inside}/persistentvolumeclaims/{claim}") is None:
            wrong.append(
                f"  namespace {needs.namespace} has no claim {claim!r}, which `{setting}` names: make it. Where there "
                f"is no namespace yet: `kubectl create namespace {needs.namespace}` and `{_give(needs)}`; the stack "
                "takes it over, and leaves it there with the claim when it goes"
            )
    if needs.queue and _may(api, "list", KUEUE, "clusterqueues", ""):
        queues = {each["metadata"]["name"]: each["spec"] for each in _kueue(api, "clusterqueues")}
        if needs.queue not in queues:
            offered = ", ".join(sorted(queues)) or "none"
            wrong.append(f"  it has no ClusterQueue {needs.queue!r}, which `queue` names; it has: {offered}")
        elif needs.exclusive_topology:
            wrong += _levels(api, needs, queues[needs.queue])
    return wrong


def _levels(api: Api, needs: Needs, queue: Object) -> list[str]:
    """A queue places by those labels that are levels of the topologies of its flavors."""
    if not all(_may(api, "list", KUEUE, plural, "") for plural in ("resourceflavors", "topologies")):
        return []
    flavors = [flavor["name"] for group in queue.get("resourceGroups", []) for flavor in group["flavors"]]
    named = {each["metadata"]["name"]: each["spec"].get("topologyName", "") for each in _kueue(api, "resourceflavors")}
    topologies = {
        each["metadata"]["name"]: [level["nodeLabel"] for level in each["spec"]["levels"]]
        for each in _kueue(api, "topologies")
    }
    levels = sorted({level for flavor in flavors for level in topologies.get(named.get(flavor, ""), [])})
    if needs.exclusive_topology in levels:
        return []
    return [
        f"  no flavor of ClusterQueue {needs.queue!r} has a topology with the level {needs.exclusive_topology}, which "
        f"`exclusive_topology` names; their levels: {', '.join(levels) or 'none'}"
    ]


def _kueue(api: Api, plural: str) -> list[Object]:
    return list((api.get(f"/apis/{QUEUE[0]}/{plural}") or {"items": []})["items"])
