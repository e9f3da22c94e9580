"""The same resources without the components: a flat Pulumi program made from what a preview registers.

One call of the SDK's own class for each resource, with the very inputs that the components registered; what only a
deployment tells is a fixed text.
"""

import importlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
LATER = "known-later"
SIGNATURE = "4dabf18193072939515e22adb298388d"
LIGHT = "penstock.gcp.compute"
PROMOTED = "pulumi-python:dynamic/penstock:PromotedModel"


def registered(preview: str) -> dict[str, dict[str, Any]]:
    """The inputs of every resource that a preview would create, by `type name`; components and the stack have none."""
    steps = json.loads(preview[preview.index("{") :])["steps"]
    found: dict[str, dict[str, Any]] = {}
    for state in (step["newState"] for step in steps):
        if state["custom"]:
            inputs = {name: value for name, value in state.get("inputs", {}).items() if not name.startswith("__")}
            found[f"{state['type']} {state['urn'].rpartition('::')[2]}"] = _settled(inputs)
    return found


def program(resources: Mapping[str, Mapping[str, Any]], *, light: bool) -> str:
    """The program's text; `light`: Compute Engine's resources by Penstock's own light classes, not the SDK's module."""
    return "\n".join(_lines(resources, light)) + "\n"


def _lines(resources: Mapping[str, Mapping[str, Any]], light: bool) -> Iterator[str]:
    yield "import pulumi\nimport pulumi_gcp as gcp"
    if light:
        yield f"from {LIGHT.rpartition('.')[0]} import {LIGHT.rpartition('.')[2]}"
    for each, inputs in resources.items():
        token, _, name = each.partition(" ")
        if token == PROMOTED:
            yield "from penstock.gcp.promotion import PromotedModel"
            yield f"PromotedModel({name!r}, *{[inputs[field] for field in ('digest', 'source', 'target')]!r})"
            continue
        arguments = "".join(f", {_snake(field)}={_written(value)}" for field, value in inputs.items())
        module, kind = _class(token)
        if light and module == "compute":
            yield f"{module}.{kind}({name!r}, None{arguments})"
        else:
            yield f"gcp.{module}.{kind}({name!r}{arguments})"


def _class(token: str) -> tuple[str, str]:
    """Module and class of the SDK."""
    _, module, kind = token.split(":")
    module = module.partition("/")[0]
    assert hasattr(importlib.import_module(f"pulumi_gcp.{module}"), kind), token
    return module, kind


def _written(value: Any) -> str:
    if isinstance(value, dict) and SIGNATURE in value:
        files = {path: each["text"] for path, each in value["assets"].items()}
        assets = ", ".join(f"{path!r}: pulumi.StringAsset({text!r})" for path, text in files.items())
        return f"pulumi.AssetArchive({{{assets}}})"
    return repr(value)


def _settled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _settled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_settled(item) for item in value]
    return LATER if value == UNKNOWN else value


def _snake(name: str) -> str:
    return re.sub("([A-Z])", r"_\1", name).lower()
