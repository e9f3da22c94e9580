"""Google's own descriptions of its REST interfaces (discovery documents), as a judge of requests and resources."""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_GLOBAL_PARAMETERS = {
    "alt",
    "fields",
    "key",
    "prettyPrint",
    "quotaUser",
    "userIp",
    "uploadType",
    "$.xgafv",
    "access_token",
}


@functools.cache
def document(api: str, version: str) -> dict[str, Any]:
    """The discovery document that google-api-python-client ships."""
    import googleapiclient

    folder = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    return json.loads((folder / f"{api}.{version}.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Schemas:
    """The schemas of one interface."""

    api: str
    version: str

    def problems(self, name: str, value: Any, *, partial: bool = False) -> list[str]:
        """What is wrong with a value of the schema `name`; `partial` passes over fields that are not in it."""
        return list(self._check({"$ref": name}, value, name, partial))

    def _check(self, schema: Mapping[str, Any], value: Any, where: str, partial: bool):
        schema = document(self.api, self.version)["schemas"][schema["$ref"]] if "$ref" in schema else schema
        kind = schema.get("type", "any")
        if kind == "object" and ("properties" in schema or "additionalProperties" in schema):
            yield from self._object(schema, value, where, partial)
        elif kind == "array":
            if isinstance(value, list):
                for index, item in enumerate(value):
                    yield from self._check(schema["items"], item, f"{where}[{index}]", partial)
            elif not partial:
                yield f"{where}: {value!r} is no list"
        elif not _fits(kind, schema.get("format", ""), value):
            if not (partial and isinstance(value, dict | list)):
                yield f"{where}: {value!r} is no {kind}"
        elif "enum" in schema and value not in schema["enum"]:
            yield f"{where}: {value!r} is not one of {', '.join(schema['enum'])}"
        elif "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
            yield f"{where}: {value!r} does not match {schema['pattern']}"

    def _object(self, schema: Mapping[str, Any], value: Any, where: str, partial: bool):
        if not isinstance(value, dict):
            if not partial:
                yield f"{where}: {value!r} is no object"
            return
        known = schema.get("properties", {})
        for name, item in value.items():
            rule = known.get(name) or schema.get("additionalProperties")
            if rule is not None:
                yield from self._check(rule, item, f"{where}.{name}", partial)
            elif not partial:
                yield f"{where}: unknown field {name!r}"


@dataclass(frozen=True)
class Call:
    """A request that the interface knows."""

    method: str
    """Its name there: `storage.objects.get`."""
    parameters: dict[str, str]
    response: str | None
    """The schema of the answer."""


def call(api: str, version: str, verb: str, url: str, body: Any = None) -> Call:
    """The call that a request is; raises ValueError for one that the interface does not have."""
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    base = "/" + document(api, version)["servicePath"].strip("/")
    # `services/S:getIamPolicy` is no service of that name.
    for method in sorted(methods(document(api, version)), key=lambda method: "}:" not in method["path"]):
        upload = method.get("mediaUpload", {}).get("protocols", {}).get("simple", {})
        found = _path(base, method).fullmatch(parts.path)
        content = found is None and upload and _template("", upload["path"]).fullmatch(parts.path)
        # What is uploaded is the content, which nobody but the uploader describes.
        found, body = (content, None) if content else (found, body)
        if method["httpMethod"] != verb or found is None:
            continue
        given = {name: unquote(value) for name, value in found.groupdict().items()}
        problems = _parameters(method, {**query, **_named(method, given)})
        reference = method.get("request", {}).get("$ref")
        if reference and body is not None:
            problems += Schemas(api, version).problems(reference, body)
        elif body is not None:
            problems.append("takes no body")
        if problems:
            raise ValueError(f"{method['id']}: {'; '.join(problems)}")
        return Call(method["id"], {**query, **_named(method, given)}, method.get("response", {}).get("$ref"))
    raise ValueError(f"{api} {version} has no {verb} {parts.path}")


def methods(holder: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All that an interface, or a part of it, can be asked."""
    yield from holder.get("methods", {}).values()
    for resource in holder.get("resources", {}).values():
        yield from methods(resource)


def _path(base: str, method: Mapping[str, Any]) -> re.Pattern[str]:
    template = method.get("flatPath", method["path"]) if "{+" in method["path"] else method["path"]
    return _template(f"{base.rstrip('/')}/", template)


def _template(base: str, template: str) -> re.Pattern[str]:
    escaped = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
    return re.compile(base + re.sub(r"\{(\w+)\}", lambda name: f"(?P<{name[1]}>[^/]+)", escaped))


def _named(method: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """The path's parameters under their declared names; a flat path's own (`projectsId`) stand for one of them."""
    return {name: value for name, value in given.items() if name in method.get("parameters", {})}


def _parameters(method: Mapping[str, Any], given: Mapping[str, str]) -> list[str]:
    known = method.get("parameters", {})
    problems = [f"unknown parameter {name!r}" for name in given if name not in known and name not in _GLOBAL_PARAMETERS]
    for name, rule in known.items():
        if name in given and "enum" in rule and given[name] not in rule["enum"]:
            problems.append(f"{name}: {given[name]!r} is not one of {', '.join(rule['enum'])}")
        if name not in given and rule.get("required") and rule["location"] == "query":
            problems.append(f"parameter {name!r} is missing")
    return problems


def _fits(kind: str, form: str, value: Any) -> bool:
    if kind == "string":
        # 64-bit numbers are strings on the wire; whoever writes Python writes numbers.
        return isinstance(value, str) or (form in ("int64", "uint64") and isinstance(value, int | float))
    if kind == "integer":
        return isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, bool) if kind == "boolean" else True
