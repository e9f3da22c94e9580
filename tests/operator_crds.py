"""The Pulumi Kubernetes Operator's kinds (operator_crds.json says whence), whole once Kubernetes' own parts are in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DECLARED = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
KEPT = ("type", "properties", "items", "additionalProperties", "required", "enum", "minLength")
EITHER = {"x-kubernetes-int-or-string": True}
OPEN = {"x-kubernetes-preserve-unknown-fields": True}


def definitions(kubernetes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """CustomResourceDefinitions by `definitions` of an API server's `/openapi/v2`; what it lacks may be anything."""
    return [_whole(each, kubernetes) for each in DECLARED["items"]]


def _whole(part: Any, kubernetes: Mapping[str, Any]) -> Any:
    if isinstance(part, list):
        return [_whole(each, kubernetes) for each in part]
    if not isinstance(part, dict):
        return part
    if isinstance(name := part.get("$ref"), str):
        if name in DECLARED["definitions"]:
            return _whole(DECLARED["definitions"][name], kubernetes)
        return _of_kubernetes(name, kubernetes)
    return {key: _whole(value, kubernetes) for key, value in part.items()}


def _of_kubernetes(name: str, kubernetes: Mapping[str, Any]) -> dict[str, Any]:
    """A definition of Kubernetes' own as a custom resource may have it: without references, texts and merge keys."""
    if name not in kubernetes:
        return OPEN

    def plain(schema: Mapping[str, Any]) -> dict[str, Any]:
        if "$ref" in schema:
            return _of_kubernetes(schema["$ref"].rpartition("/")[2], kubernetes)
        if schema.get("format") == "int-or-string":
            return EITHER
        made = {key: schema[key] for key in KEPT if key in schema}
        if "properties" in made:
            made["properties"] = {key: plain(value) for key, value in made["properties"].items()}
        for key in ("items", "additionalProperties"):
            if key in made:
                made[key] = plain(made[key])
        return made

    # A quantity is written as a number, too.
    return EITHER if name.endswith(".Quantity") else plain(kubernetes[name])
