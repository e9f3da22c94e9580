"""A ladder of machines: pods that ask for it get one of the first pool, and where Google has none, of the next."""

from collections.abc import Sequence
from typing import Any

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock.gcp.pool import COMPUTE_CLASS
from penstock.kubernetes import manifest


class LadderArgs(TypedDict):
    """Its rungs."""

    pools: Sequence[pulumi.Input[str]]
    """Names of node pools in the order in which they are tried, each with the ladder's name as its `compute_class`."""
    compute_class: NotRequired[str]
    """Name of the ladder. Default: the component's."""


class Ladder(pulumi.ComponentResource):
    """A ComputeClass of GKE's, on the cluster of the options' Kubernetes provider."""

    node_selector: dict[str, str]
    """By which pods ask for it; GKE adds the toleration."""

    def __init__(self, name: str, args: LadderArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:Ladder", name, None, opts)
        ladder, child = args.get("compute_class", name), pulumi.ResourceOptions(parent=self)
        manifest.resource(name, compute_class(ladder, args["pools"]), child)
        self.node_selector = {COMPUTE_CLASS: ladder}
        self.register_outputs({"node_selector": self.node_selector})


def compute_class(name: str, pools: Sequence[pulumi.Input[str]]) -> dict[str, Any]:
    """The manifest."""
    return {
        "apiVersion": "cloud.google.com/v1",
        "kind": "ComputeClass",
        "metadata": {"name": name},
        "spec": {
            "priorities": [{"nodepools": [pool]} for pool in pools],
            "activeMigration": {"optimizeRulePriority": False},
            "whenUnsatisfiable": "DoNotScaleUp",
        },
    }
