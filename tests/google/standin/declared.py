"""What GKE declares of its own kinds (tests/google_crds.json says whence), in the form of `schema`."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from standin.schema import Spec

_CRDS = Path(__file__).resolve().parents[2] / "google_crds.json"


@functools.cache
def of(version: str, kind: str) -> dict[str, Any] | None:
    """The schema of a kind such as `cloud.google.com/v1`, `ComputeClass`; None for one that Google does not declare."""
    for each in json.loads(_CRDS.read_text(encoding="utf-8"))["items"]:
        spec, (declared,) = each["spec"], each["spec"]["versions"]
        if (f"{spec['group']}/{declared['name']}", spec["names"]["kind"]) == (version, kind):
            types: dict[str, Any] = {}
            root = _spec(declared["schema"]["openAPIV3Schema"], kind, types)
            return {"token": kind, **types[root["of"]], "types": types}
    return None


def _spec(schema: Mapping[str, Any], name: str, types: dict[str, Any]) -> Spec:
    kind = schema.get("type", "any")
    if "properties" in schema:
        fields = {field: _spec(each, f"{name}.{field}", types) for field, each in schema["properties"].items()}
        types[name] = {"token": name, "properties": fields, "required": schema.get("required", [])}
        return {"type": "object", "of": name}
    if kind == "object":
        values = schema.get("additionalProperties")
        return {"type": "map", "values": _spec(values, name, types)} if values else {"type": "any"}
    if kind == "array":
        return {"type": "array", "items": _spec(schema["items"], name, types)}
    return {"type": kind, "enum": schema["enum"]} if "enum" in schema else {"type": kind}
