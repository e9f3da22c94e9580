"""Run by the linters' interpreter: judges manifests by the schemas of their kinds, and takes no field they do not name.

    judging.py VERSION MANIFESTS DEFINITION...      a JSON list of findings, and of the kinds that nobody defines

Kubernetes' own kinds are judged by kubernetes-validate, the others by the schemas in their CustomResourceDefinitions.
"""

# pyright: reportMissingImports=false, reportMissingModuleSource=false
# It has an environment of its own.

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml


def strict(schema: Any) -> Any:
    """The schema, which takes no field that it does not name: an API server would drop it without a word."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: value if key in ("enum", "default", "required") else strict(value) for key, value in schema.items()}
    open_ended = found.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in found
    if isinstance(found.get("properties"), dict) and not open_ended and "type" in found:
        found["additionalProperties"] = False
    return found


def defined(files: list[Path]) -> dict[tuple[str, str], Any]:
    """The schemas by apiVersion and kind."""
    found: dict[tuple[str, str], Any] = {}
    for file in files:
        spec = yaml.safe_load(file.read_text(encoding="utf-8"))["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            # Of an object's own metadata a definition says nothing.
            schema["properties"]["metadata"] = {"type": "object"}
            found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def judged(manifest: dict[str, Any], version: str, schemas: dict[tuple[str, str], Any]) -> list[str] | None:
    """What is wrong with it; None where nobody defines its kind."""
    named = f"{manifest['kind']} {manifest['metadata']['name']}"
    schema = schemas.get((manifest["apiVersion"], manifest["kind"]))
    if schema is not None:
        errors = jsonschema.Draft202012Validator(schema).iter_errors(manifest)
        return [f"{named}: {error.json_path}: {error.message}" for error in errors]
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return None
    except kubernetes_validate.ValidationError as exc:
        return [f"{named}: {'.'.join(map(str, exc.path))}: {exc.message}"]
    return []


def main() -> None:
    """Prints what was found."""
    version, manifests, *definitions = sys.argv[1:]
    schemas = defined([Path(each) for each in definitions])
    findings: list[str] = []
    undefined: list[str] = []
    for manifest in json.loads(Path(manifests).read_text()):
        found = judged(manifest, version, schemas)
        if found is None:
            undefined.append(f"{manifest['apiVersion']} {manifest['kind']}")
        findings += found or []
    print(json.dumps({"findings": findings, "undefined": sorted(set(undefined))}))


if __name__ == "__main__":
    main()
