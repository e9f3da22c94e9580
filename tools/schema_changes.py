"""What of a component package's schema has changed so that programs written for the one before do not work any more.

    .venv/bin/python tools/schema_changes.py OLD.json NEW.json

Exit code 1 where there is such a change and the version does not say so: with a new major version (below 1.0, a new
minor one) anything may change.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Schema = dict[str, Any]


def breaking(old: Schema, new: Schema) -> list[str]:
    """A line for each change that breaks a program: something is gone, newly needed, or of another type."""
    found: list[str] = []
    for token, resource in old.get("resources", {}).items():
        after = new.get("resources", {}).get(token)
        if after is None:
            found.append(f"{token} is gone")
            continue
        found += _inputs(token, _part(resource), _part(after))
        found += _outputs(token, resource, after)
    for token, type_ in old.get("types", {}).items():
        after = new.get("types", {}).get(token)
        if after is None:
            found.append(f"{token} is gone")
            continue
        found += _inputs(token, type_, after)
        values = [each["value"] for each in after.get("enum", [])]
        found += [
            f"{token}: value {each['value']!r} is gone" for each in type_.get("enum", []) if each["value"] not in values
        ]
    return found


def says_so(old: str, new: str) -> bool:
    """Whether the step from one version to the other announces that programs may break."""
    before, after = ([int(part) for part in version.split(".")[:3]] for version in (old, new))
    told = 1 if before[0] == 0 else 0
    return after[: told + 1] > before[: told + 1]


def _part(resource: Schema) -> Schema:
    return {"properties": resource.get("inputProperties", {}), "required": resource.get("requiredInputs", [])}


def _inputs(token: str, old: Schema, new: Schema) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name, property_ in before.items():
        if name not in after:
            yield f"{token}: {name} is gone"
        elif _type(property_) != _type(after[name]):
            yield f"{token}: {name} was {_type(property_)}, is {_type(after[name])}"
        elif after[name].get("plain") and not property_.get("plain"):
            yield f"{token}: {name} may not be an output any more"
    for name in sorted(set(new.get("required", [])) - set(old.get("required", []))):
        yield f"{token}: {name} is required"


def _outputs(token: str, old: Schema, new: Schema) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name, property_ in before.items():
        if name not in after:
            yield f"{token}: output {name} is gone"
        elif _type(property_) != _type(after[name]):
            yield f"{token}: output {name} was {_type(property_)}, is {_type(after[name])}"
        elif name in old.get("required", []) and name not in new.get("required", []):
            yield f"{token}: output {name} may be absent"


def _type(property_: Schema) -> str:
    if "$ref" in property_:
        return str(property_["$ref"])
    if "items" in property_:
        return f"[{_type(property_['items'])}]"
    if "additionalProperties" in property_:
        return "{" + _type(property_["additionalProperties"]) + "}"
    return str(property_.get("type"))


def main() -> int:
    """Compares two files."""
    old, new = (json.loads(Path(name).read_text()) for name in sys.argv[1:3])
    found = breaking(old, new)
    print("\n".join(found) or "nothing that breaks a program")
    return int(bool(found) and not says_so(old["version"], new["version"]))


if __name__ == "__main__":
    sys.exit(main())
