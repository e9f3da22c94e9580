"""Why a body was refused, in words: which row, column and value. Runs only after the fast decoder said no."""

import base64
import json
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from penstock_serving.schema import LARGEST_INTEGER, LARGEST_NUMBER, SIGNATURE, STRINGS, Column, ColumnType, Schema

SHORT = 40
KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
EXPECTED = {
    ColumnType.NUMBER: "a number",
    ColumnType.INTEGER: "a whole number",
    ColumnType.CATEGORY: "a string",
    ColumnType.TEXT: "a string",
    ColumnType.IMAGE: 'a picture as {"b64": "..."}',
}


class _Number(float):
    """A JSON number that remembers how the client spelled it."""

    spelled: str

    def __new__(cls, spelled: str) -> "_Number":
        number = super().__new__(cls, spelled)
        number.spelled = spelled
        return number


def explain(body: bytes, schema: Schema) -> str | None:
    """The first thing in `body` that does not fit `schema`; None if its JSON itself is broken or nothing is found."""
    try:
        request = json.loads(body.decode(), parse_float=_Number, parse_int=_Number, parse_constant=_Number)
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, dict):
        return f"the body is {_kind(request)}, expected an object with 'instances' or 'inputs'"
    known = ("instances", "inputs", "signature_name")
    for key in request:
        if key not in known:
            return f"the body has an unknown key {shorten(key)}{suggestion(key, known)}"
    if not isinstance(request.get("signature_name", SIGNATURE), str):
        return f"signature_name is {shorten(request['signature_name'])}, expected a string"
    return _explain_instances(request, schema) or _explain_inputs(request, schema)


def shorten(value: Any) -> str:
    """A client's value as JSON, cut to a length that fits a message."""
    text = value.spelled if isinstance(value, _Number) else json.dumps(value)
    return text if len(text) <= SHORT else f"{text[: SHORT - 3]}..."


def suggestion(name: str, known: Iterable[str]) -> str:
    """`, did you mean ...?` with the closest of the known names; empty if none is close."""
    close = get_close_matches(name[:100], list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _explain_instances(request: dict[str, Any], schema: Schema) -> str | None:
    if "instances" not in request:
        return None
    rows = request["instances"]
    if not isinstance(rows, list):
        return f"instances is {_kind(rows)}, expected an array of rows"
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            if len(schema.columns) != 1:
                return f"row {index} is {_kind(row)}, expected an object of columns"
            row = {schema.columns[0].name: row}
        for name in row:
            if name not in schema.names and name not in schema.ignored:
                return f"row {index}: unknown column {shorten(name)}{suggestion(name, schema.names)}"
        for column in schema.columns:
            if column.name in row:
                if wrong := _wrong(row[column.name], column):
                    return f"row {index}, column {column.name!r}: {wrong}"
            elif column.required:
                return f"row {index}: column {column.name!r} is required and missing"
    return None


def _explain_inputs(request: dict[str, Any], schema: Schema) -> str | None:
    if "inputs" not in request:
        return None
    columns = request["inputs"]
    if isinstance(columns, list) and len(schema.columns) == 1:
        columns = {schema.columns[0].name: columns}
    if not isinstance(columns, dict):
        return f"inputs is {_kind(columns)}, expected an object of columns"
    for name in columns:
        if name not in schema.names and name not in schema.ignored:
            return f"unknown column {shorten(name)}{suggestion(name, schema.names)}"
    for column in schema.columns:
        if column.name not in columns:
            if column.required:
                return f"column {column.name!r} is required and missing"
            continue
        values = columns[column.name]
        if not isinstance(values, list):
            return f"column {column.name!r} is {_kind(values)}, expected an array of values"
        for index, value in enumerate(values):
            if wrong := _wrong(value, column):
                return f"row {index}, column {column.name!r}: {wrong}"
    return None


def _wrong(value: Any, column: Column) -> str | None:
    """What is wrong with `value` in `column`; None if nothing is."""
    if value is None:
        return "null is not a value of a required column" if column.required else None
    expected = EXPECTED[column.type]
    if column.type is ColumnType.IMAGE:
        return _wrong_picture(value, expected)
    if column.type in STRINGS:
        if not isinstance(value, str):
            return f"{shorten(value)} is {_kind(value)}, expected {expected}"
        if any("\ud800" <= character <= "\udfff" for character in value):
            return f"{shorten(value)} holds half of a surrogate pair, which is no text"
        return None
    if not isinstance(value, _Number):
        return f"{shorten(value)} is {_kind(value)}, expected {expected}"
    if value.spelled in ("NaN", "Infinity", "-Infinity"):
        return f"{value.spelled} is not JSON, expected {expected}"
    if column.type is ColumnType.NUMBER:
        too_large = abs(value) > LARGEST_NUMBER
        return f"{shorten(value)} is beyond the largest float32, 3.4e38" if too_large else None
    if abs(value) > LARGEST_INTEGER:
        return f"{shorten(value)} is beyond 2**24, where float32 skips whole numbers"
    return None if value.is_integer() else f"{shorten(value)} is not a whole number"


def _wrong_picture(value: Any, expected: str) -> str | None:
    if not isinstance(value, dict) or list(value) != ["b64"] or not isinstance(value["b64"], str):
        return f"{shorten(value)} is {_kind(value)}, expected {expected}"
    try:
        encoded = base64.b64decode(value["b64"], validate=True)
    except ValueError as exc:
        return f"{shorten(value)} is not base64: {exc}"
    return None if encoded else "the picture has no bytes"


def _kind(value: Any) -> str:
    return KINDS.get(type(value), "a number")
