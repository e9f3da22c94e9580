"""The versions of a model that an endpoint has known, and the plan by which the servers in its pods split the traffic.

The stack's state is where they are kept: a dynamic resource that remembers, and touches nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from penstock.kubernetes import kinds
from penstock.kubernetes.pods import labels
from penstock.local import versions

WATCHED = ("path", "digest", "model_name", "traffic")
FILE = "plan.json"


class VersionsProvider(ResourceProvider):
    """Numbers each model that comes; pickled by reference, so it keeps no attributes of its own."""

    serialize_as_secret_always = False

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Changed when an input is."""
        return DiffResult(changes=any(_olds.get(key) != _news.get(key) for key in WATCHED))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """The first one is number 1."""
        return CreateResult(props["name"], _arrived([], props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """A new one gets the next number, one that came back keeps its own."""
        return UpdateResult(_arrived(_olds["known"], _news))


class Versions(Resource, module="penstock", name="Versions"):
    """The sealed models that one endpoint has known."""

    known: pulumi.Output[list[dict[str, Any]]]
    """All that have come, the last to come last."""
    plan: pulumi.Output[str]
    """What a server's supervisor reads (docs/contracts.md); empty where all goes to the latest."""

    def __init__(self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(VersionsProvider(), name, {"name": name, **props, "known": None, "plan": None}, opts)


def _arrived(before: list[dict[str, Any]], props: dict[str, Any]) -> dict[str, Any]:
    known = versions.arrived(_numbered(before), props["path"], props["digest"])
    return {**props, "known": known, "plan": _plan(known, props)}


def served(traffic: Mapping[str, float], known: list[dict[str, Any]]) -> dict[str, versions.Version]:
    """The versions that `traffic` names, from what the state knows."""
    return versions.served(traffic, _numbered(known))


def _numbered(known: list[dict[str, Any]]) -> list[versions.Version]:
    # Numbers of a resource's properties arrive as floats.
    return cast(list[versions.Version], [{**each, "number": int(each["number"])} for each in known])


def _plan(known: list[versions.Version], props: dict[str, Any]) -> str:
    if not props.get("traffic"):
        return ""
    content: dict[str, Any] = {
        "name": props["model_name"],
        "versions": {str(each["number"]): {"path": each["path"], "digest": each["digest"]} for each in known},
        "latest": str(known[-1]["number"]),
        "traffic": versions.resolved(props["traffic"], known),
        "rollout": None,
        # The cluster has as many pods as it takes, each with one process that answers.
        "replicas": {"lowest": 1, "highest": 1, "idle_seconds": 300},
    }
    revision = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({"revision": revision, **content}, indent=1)


def mounted(name: str, stack: str, plan: pulumi.Output[str]) -> dict[str, Any]:
    """The ConfigMap with a plan; its name ends in the plan's digest, so that other weights are other pods."""
    named = plan.apply(lambda text: kinds.named_by_content(f"{name}-plan", text))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": named, "labels": labels(stack, name, "plan")},
        "immutable": True,
        "data": {FILE: plan},
    }
