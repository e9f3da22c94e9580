"""Every input of a resource, judged: by the SDK's types, by documented values, by Google's REST interface."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import discovery

from standin import declared, schema

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Stands for a value that only the deployment will tell."""

REST: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "gcp:artifactregistry/repository:Repository": ("artifactregistry", "v1", "Repository", {}),
    "gcp:billing/budget:Budget": ("billingbudgets", "v1", "GoogleCloudBillingBudgetsV1Budget", {}),
    "gcp:cloudfunctionsv2/function:Function": (
        "cloudfunctions",
        "v2",
        "Function",
        {"availableCpu": "availableCpu", "location": ""},
    ),
    "gcp:cloudrunv2/service:Service": ("run", "v2", "GoogleCloudRunV2Service", {"envs": "env", "traffics": "traffic"}),
    "gcp:compute/address:Address": ("compute", "v1", "Address", {}),
    "gcp:compute/firewall:Firewall": ("compute", "v1", "Firewall", {"allows": "allowed", "denies": "denied"}),
    "gcp:compute/globalAddress:GlobalAddress": ("compute", "v1", "Address", {}),
    "gcp:compute/network:Network": ("compute", "v1", "Network", {"routingMode": "routingConfig.routingMode"}),
    "gcp:compute/resourcePolicy:ResourcePolicy": ("compute", "v1", "ResourcePolicy", {}),
    "gcp:compute/router:Router": ("compute", "v1", "Router", {}),
    "gcp:compute/routerNat:RouterNat": ("compute", "v1", "RouterNat", {}),
    "gcp:compute/subnetwork:Subnetwork": ("compute", "v1", "Subnetwork", {}),
    "gcp:container/cluster:Cluster": (
        "container",
        "v1",
        "Cluster",
        {
            "datapathProvider": "networkConfig.datapathProvider",
            "gatewayApiConfig": "networkConfig.gatewayApiConfig",
            "ipAllocationPolicy": "ipAllocationPolicy",
            "enableComponents": "componentConfig.enableComponents",
            "nodeLocations": "locations",
        },
    ),
    "gcp:container/nodePool:NodePool": (
        "container",
        "v1",
        "NodePool",
        {"nodeConfig": "config", "guestAccelerators": "accelerators", "nodeLocations": "locations"},
    ),
    "gcp:iam/workloadIdentityPool:WorkloadIdentityPool": ("iam", "v1", "WorkloadIdentityPool", {}),
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider": (
        "iam",
        "v1",
        "WorkloadIdentityPoolProvider",
        {},
    ),
    "gcp:monitoring/alertPolicy:AlertPolicy": ("monitoring", "v3", "AlertPolicy", {}),
    "gcp:pubsub/topic:Topic": ("pubsub", "v1", "Topic", {}),
    "gcp:secretmanager/secret:Secret": ("secretmanager", "v1", "Secret", {"auto": "automatic"}),
    "gcp:serviceaccount/account:Account": ("iam", "v1", "ServiceAccount", {}),
    "gcp:sql/databaseInstance:DatabaseInstance": ("sqladmin", "v1", "DatabaseInstance", {}),
    "gcp:storage/bucket:Bucket": (
        "storage",
        "v1",
        "Bucket",
        {
            "uniformBucketLevelAccess": "iamConfiguration.uniformBucketLevelAccess.enabled",
            "publicAccessPrevention": "iamConfiguration.publicAccessPrevention",
            "lifecycleRules": "lifecycle.rule",
            "matchesPrefixes": "matchesPrefix",
            "withState": "",
        },
    ),
    "gcp:workbench/instance:Instance": ("notebooks", "v2", "Instance", {}),
}
"""Resources whose fields bear the names of a REST schema, and where the others lie there; nowhere: an empty name."""

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_GOOGLE_LABEL = re.compile(r"[a-z0-9_-]{0,63}")


def problems(token: str, inputs: Mapping[str, Any], schemas: Path | None = None) -> list[tuple[str, str]]:
    """What is wrong, as pairs of property and reason."""
    if token.startswith("kubernetes:"):
        return list(_kubernetes(token, inputs, schemas))
    known = schema.of(token, schemas)
    if known is None:
        return [("", f"the installed SDK has no resource {token}")]
    found = list(_object(known, known["types"], inputs, ""))
    if token in REST:
        api, version, name, renamed = REST[token]
        same = _renamed(dict(inputs), renamed)
        found += [_split(problem) for problem in discovery.Schemas(api, version).problems(name, same, partial=True)]
    # A channel's "labels" are its address.
    labelled = () if token.endswith(":NotificationChannel") else ("labels", "resourceLabels", "userLabels")
    for field in labelled:
        for key, value in (inputs.get(field) or {}).items():
            if value != UNKNOWN and not _GOOGLE_LABEL.fullmatch(str(value)):
                found.append((field, f"label {key} is {value!r}: lower-case letters, digits, - and _ only, 63 at most"))
    return found


def _object(known: Mapping[str, Any], types: Mapping[str, Any], value: Any, where: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        yield where, f"{value!r} is no object"
        return
    for name in known["required"]:
        if value.get(name) is None:
            yield f"{where}{name}", "is required"
    for name, item in value.items():
        if name.startswith("__"):
            continue
        if name not in known["properties"]:
            yield f"{where}{name}", f"is no field of {known.get('token', 'this block')}"
        elif item is not None:
            yield from _value(known["properties"][name], types, item, f"{where}{name}")


def _value(spec: schema.Spec, types: Mapping[str, Any], value: Any, where: str) -> Iterator[tuple[str, str]]:
    if value == UNKNOWN:
        return
    kind = spec["type"]
    if kind == "object":
        yield from _object(types[spec["of"]], types, value, f"{where}.")
    elif kind == "array":
        if not isinstance(value, list):
            yield where, f"{value!r} is no list"
            return
        for index, item in enumerate(value):
            yield from _value(spec["items"], types, item, f"{where}[{index}]")
    elif kind == "map":
        if not isinstance(value, Mapping):
            yield where, f"{value!r} is no mapping"
            return
        for key, item in value.items():
            yield from _value(spec["values"], types, item, f"{where}.{key}")
    elif not _fits(kind, value):
        yield where, f"{value!r} is no {kind}"
    elif spec.get("enum") and value not in spec["enum"]:
        yield where, f"{value!r} is not one of {', '.join(spec['enum'])}"


def _fits(kind: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "number": number,
        "integer": number and float(value).is_integer(),
        "any": True,
    }[kind]


def _known(value: Any) -> dict[str, Any]:
    """A block, as far as it is known before the deployment."""
    return value if isinstance(value, dict) else {}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, item in value.items():
            *folders, last = names.get(key, key).split(".")
            if last and item is not None and item != UNKNOWN:
                place = found
                for folder in folders:
                    place = place.setdefault(folder, {})
                place[last] = _renamed(item, names)
        return found
    if isinstance(value, list):
        return [_renamed(item, names) for item in value if item != UNKNOWN]
    # The provider writes three-valued booleans as words.
    return {"TRUE": True, "FALSE": False}.get(value, value) if isinstance(value, str) else value


def _split(problem: str) -> tuple[str, str]:
    where, _, reason = problem.partition(": ")
    return where.partition(".")[2], f"{reason} (Google's REST interface)"


def _kubernetes(token: str, inputs: Mapping[str, Any], schemas: Path | None) -> Iterator[tuple[str, str]]:
    known = schema.of(token, schemas)
    if known is not None:
        yield from _object(known, known["types"], inputs, "")
    else:
        # A custom resource: its pods are Kubernetes' own all the same.
        group, _, kind = token.removeprefix("kubernetes:").partition(":")
        if inputs.get("kind") != kind or inputs.get("apiVersion") != group:
            yield "kind", f"{inputs.get('apiVersion')}/{inputs.get('kind')} under the type {token}"
        own = declared.of(group, kind)
        if own is not None:
            yield from _object(own, own["types"], inputs, "")
        metadata = schema.of("kubernetes:core/v1:ConfigMap", schemas)
        assert metadata is not None
        yield from _value(metadata["properties"]["metadata"], metadata["types"], inputs.get("metadata", {}), "metadata")
        jobs = _known(inputs.get("spec")).get("replicatedJobs", [])
        for index, job in enumerate(jobs if isinstance(jobs, list) else []):
            for where, reason in problems("kubernetes:batch/v1:Job", job.get("template", {}), schemas):
                yield f"spec.replicatedJobs[{index}].template.{where}", reason
    metadata = _known(inputs.get("metadata"))
    name = metadata.get("name", "a")
    if name != UNKNOWN and not _DNS_LABEL.fullmatch(name):
        yield "metadata.name", f"{name!r} is no DNS name"
    for key, value in _known(metadata.get("labels")).items():
        if value != UNKNOWN and not _LABEL_VALUE.fullmatch(str(value)):
            yield f"metadata.labels.{key}", f"{value!r} is no label value"
