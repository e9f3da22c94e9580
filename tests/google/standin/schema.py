"""What a resource accepts and returns, read from the installed SDK: names, types, required fields, allowed values."""

import functools
import importlib
import importlib.metadata
import inspect
import json
import os
import re
import sys
import threading
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pulumi import _types

# "Possible values are: `A`, `B`." and its relatives; a value is what stands in backquotes.
_VALUES = re.compile(
    r"(?:possible|valid|accepted|allowed|supported) values(?: are| include)?(?: one of)?\s*:?\s*"
    r"(`[^`]+`(?:(?:\s*,\s*|\s*,?\s+(?:and|or)\s+)`[^`]+`)*)",
    re.IGNORECASE,
)
_REPLACES = re.compile(
    r"(?:changing this|changes to this|this) (?:field )?forces a new|cannot be changed|immutable", re.I
)
_PACKAGES = {"gcp": "pulumi_gcp", "kubernetes": "pulumi_kubernetes"}

Spec = dict[str, Any]
"""A type: `{"type": "string", "enum": [...]}`, `{"type": "array", "items": Spec}`, `{"type": "map", "values": Spec}`,
`{"type": "object", "of": name}`, `{"type": "any"}`."""


@functools.cache
def of(token: str, cache: Path | None = None) -> dict[str, Any] | None:
    """The schema of a resource type such as `gcp:storage/bucket:Bucket`; None for a type that the SDK does not have.

    `cache` is a folder: importing an SDK takes seconds, reading what was found in it milliseconds.
    """
    package = _PACKAGES[token.partition(":")[0]]
    return _cached(token, package, cache, lambda: _read(token, package))


@functools.cache
def provider_settings(package: str, cache: Path | None = None) -> list[str]:
    """The names of a provider's own settings."""
    module = _PACKAGES[package]

    def read() -> list[str]:
        arguments = importlib.import_module(f"{module}.provider").ProviderArgs
        return sorted(_types.input_type_py_to_pulumi_names(arguments).values())

    return _cached(f"{package}:provider", module, cache, read)


def _cached(name: str, package: str, cache: Path | None, read: Callable[[], Any]) -> Any:
    if cache is None:
        return read()
    file = cache / f"{re.sub(r'[^A-Za-z0-9]', '-', name)}-{importlib.metadata.version(package)}.json"
    if file.exists():
        return json.loads(file.read_text())
    found = read()
    cache.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    partial.write_text(json.dumps(found))
    partial.replace(file)
    return found


def _read(token: str, package: str) -> dict[str, Any] | None:
    module, class_name = _classes(package).get(token, (None, None))
    if module is None or class_name is None:
        return None
    with warnings.catch_warnings():
        # The SDK warns of deprecated functions when it is imported, called or not.
        warnings.simplefilter("ignore", DeprecationWarning)
        resource = getattr(importlib.import_module(module), class_name)
    types: dict[str, Any] = {}
    arguments = _arguments(resource)
    # Every resource of these SDKs takes something: one without a class for it would be a surprise worth seeing.
    inputs = _object(arguments, types)
    hints = _types.resource_types(resource)
    outputs = {name: _spec(hint, types, name) for name, hint in hints.items()}
    return {"token": token, **inputs, "outputs": outputs, "types": types}


def _classes(package: str) -> dict[str, tuple[str, str]]:
    """Token to module and class, from the table that the SDK registers with Pulumi."""
    importlib.import_module(package)
    file = Path(sys.modules[package].__file__ or "")
    sources = [file, file.parent / "_tables.py"]
    table: dict[str, tuple[str, str]] = {}
    for source in sources:
        text = source.read_text() if source.exists() else ""
        for block in re.findall(r"resource_modules=\"\"\"\n(.*?)\"\"\"", text, re.DOTALL):
            for entry in json.loads(block):
                table |= {token: (entry["fqn"], name) for token, name in entry["classes"].items()}
    return table


def _arguments(resource: type) -> type:
    """The class of the resource's inputs, which the SDK writes beside it."""
    module = importlib.import_module(resource.__module__)
    for name in (f"{resource.__name__}InitArgs", f"{resource.__name__}Args"):
        if hasattr(module, name):
            return getattr(module, name)
    raise LookupError(f"{resource} has no class of inputs")


def _object(cls: type, types: dict[str, Any]) -> dict[str, Any]:
    hints = _types.input_type_types(cls)
    wire = _types.input_type_py_to_pulumi_names(cls)
    documented = _documented(cls.__init__)
    parameters = inspect.signature(cls.__init__).parameters
    required = [wire[name] for name, p in parameters.items() if name in wire and p.default is inspect.Parameter.empty]
    properties = {name: _spec(hints[name], types, name, documented.get(python, "")) for python, name in wire.items()}
    replaces = [name for python, name in wire.items() if _REPLACES.search(documented.get(python, ""))]
    return {"properties": properties, "required": sorted(required), "replaces": replaces}


def _documented(init: Any) -> dict[str, str]:
    """What the SDK's documentation says of each parameter."""
    text = inspect.getdoc(init) or ""
    parts = re.split(r"^:param [^:]*?(\w+):", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _spec(hint: Any, types: dict[str, Any], name: str, documentation: str = "") -> Spec:
    hint = _plain(hint)
    origin = typing.get_origin(hint)
    if hint is str:
        found = _VALUES.search(documentation)
        values = re.findall(r"`([^`]+)`", found.group(1)) if found else []
        values = [value.strip('"') for value in values]
        return {"type": "string", "enum": values} if len(values) > 1 else {"type": "string"}
    if hint in (bool, int, float):
        return {"type": {bool: "boolean", int: "integer", float: "number"}[hint]}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "map", "values": _spec(typing.get_args(hint)[1], types, name)}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return {"type": "array", "items": _spec(typing.get_args(hint)[0], types, name, documentation)}
    if isinstance(hint, type) and (_types.is_input_type(hint) or _types.is_output_type(hint)):
        label = f"{hint.__module__}.{hint.__qualname__}"
        if label not in types:
            types[label] = None  # a type may hold itself
            types[label] = _object(hint, types) if _types.is_input_type(hint) else _output(hint, types)
        return {"type": "object", "of": label}
    return {"type": "any"}


def _output(cls: type, types: dict[str, Any]) -> dict[str, Any]:
    hints = _types.output_type_types(cls)
    return {"properties": {name: _spec(hint, types, name) for name, hint in hints.items()}, "required": []}


def _plain(hint: Any) -> Any:
    """What remains of a hint without Input, Output, Awaitable and Optional."""
    while typing.get_origin(hint) is typing.Union or type(hint).__name__ == "UnionType":
        members = [m for m in typing.get_args(hint) if m is not type(None) and not _deferred(m)]
        named = [m for m in members if isinstance(m, type) and _types.is_input_type(m)]
        chosen = named or members
        if len(chosen) != 1:
            # A string or a number, a class or its dictionary: the class says most.
            chosen = [m for m in chosen if not isinstance(m, typing.ForwardRef)] or chosen
        if len(chosen) > 1:
            return Any
        hint = chosen[0]
    return hint


def _deferred(hint: Any) -> bool:
    name = getattr(typing.get_origin(hint) or hint, "__name__", "")
    return name in ("Awaitable", "Output") or isinstance(hint, typing.ForwardRef)
