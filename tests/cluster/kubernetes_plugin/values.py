"""Properties as the engine sends them, and as an API server takes them."""

from typing import Any

from google.protobuf import json_format, struct_pb2
from pulumi.runtime.rpc import UNKNOWN


def plain(properties: struct_pb2.Struct) -> dict[str, Any]:
    """Python values; whole numbers are ints again, and what nobody set is left out."""
    return _plain(json_format.MessageToDict(properties))


def packed(properties: dict[str, Any]) -> struct_pb2.Struct:
    """The same, to be sent."""
    return json_format.ParseDict(properties, struct_pb2.Struct())


def has_unknown(value: Any) -> bool:
    """Whether something in it is known only after another resource was made."""
    if isinstance(value, dict):
        return any(has_unknown(each) for each in value.values())
    if isinstance(value, list):
        return any(has_unknown(each) for each in value)
    return value == UNKNOWN


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """The paths at which two values differ, as the engine writes paths."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted({*old, *new})
        return [found for name in names for found in differences(old.get(name), new.get(name), _joined(path, name))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [found for index, (was, is_) in pairs for found in differences(was, is_, f"{path}[{index}]")]
    return [] if old == new else [path]


def pruned(live: Any, shape: Any) -> Any:
    """What `shape` has values for, as `live` has them."""
    if isinstance(live, dict) and isinstance(shape, dict):
        return {name: pruned(live[name], each) for name, each in shape.items() if name in live}
    if isinstance(live, list) and isinstance(shape, list):
        return [pruned(was, each) for was, each in zip(live, shape, strict=False)]
    return live


def _joined(path: str, name: str) -> str:
    if not name.replace("_", "").isalnum():
        return f'{path}["{name}"]'
    return f"{path}.{name}" if path else name


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
