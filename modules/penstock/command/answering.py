"""Which models a Deployment's pods are told to answer with: by their arguments, or by the plan that they mount."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.command.state import argument
from penstock.errors import PenstockError
from penstock.kubernetes.versions import FILE

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"


@dataclass(frozen=True)
class Model:
    """One sealed model."""

    path: str
    digest: str
    weight: float
    """Of the traffic; 0: in the shadow."""


@dataclass(frozen=True)
class Answering:
    """What is to answer, and where."""

    name: str
    """Of the model, in URLs."""
    port: int
    models: Mapping[str, Model]
    """By the number of the version."""
    split: bool
    """Whether the stack's `traffic` says who answers, and not the model that came last."""


def answering(deployment: Mapping[str, Any], config_map: Callable[[str], Mapping[str, Any] | None]) -> Answering:
    """Reads a Deployment; `config_map` finds the ConfigMap of a name.

    Raises:
        PenstockError: the ConfigMap that the pods mount is not there.
    """
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    port = int(container["ports"][0]["containerPort"])
    plans = [each["configMap"]["name"] for each in pod.get("volumes", ()) if each["name"] == "plan"]
    if not plans:
        arguments: list[str] = container["args"]
        name, path, digest = (str(argument(arguments, each)) for each in ("--name", "--model", "--expect-digest"))
        return Answering(name, port, {"1": Model(path, digest, 1)}, split=False)
    found = config_map(plans[0])
    if found is None:
        raise PenstockError(f"ConfigMap {plans[0]}, by which its servers split the traffic, is not there")
    plan = json.loads(found["data"][FILE])
    models = {number: Model(**plan["versions"][number], weight=weight) for number, weight in plan["traffic"].items()}
    return Answering(plan["name"], port, models, split=True)
