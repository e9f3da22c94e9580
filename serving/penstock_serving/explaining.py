"""Why a body was refused, in words: which row, column and value. Runs only after the fast decoder said no."""

import base64
import json
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from penstock_serving.bodies import ROWS_LIMIT
from penstock_serving.errors import RequestError, RowError
from penstock_serving.schema import LARGEST_INTEGER, LARGEST_NUMBER, SIGNATURE, STRINGS, Column, ColumnType, Schema

SHORT = 40
EXPLAINED = 8 * ROWS_LIMIT
"""A body of more values is not read a second time: that takes two hundred times its memory."""
KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
EXPECTED = {
    ColumnType.NUMBER: "a number",
    ColumnType.INTEGER: "a whole number",
    ColumnType.CATEGORY: "a string",
    ColumnType.TEXT: "a string",
    ColumnType.IMAGE: 'a picture as {"b64": "..."}',
    ColumnType.TIMESTAMP: "a moment in ISO 8601, a string",
}


class Fault(str):
    """Words about a row: the model's column at fault (None: it has none of that name), a word for the reason, and how
    many rows are refused with it.
    """

    column: str | None
    reason: str
    rows: int

    def __new__(cls, text: str, column: str | None, reason: str, rows: int) -> "Fault":
        fault = super().__new__(cls, text)
        fault.column, fault.reason, fault.rows = column, reason, rows
        return fault


def refusal(said: str) -> RequestError:
    """The refusal of a request in these words."""
    return RowError(said, said.column, said.reason, said.rows) if isinstance(said, Fault) else RequestError(said)


class _Number(float):
    """A JSON number that remembers how the client spelled it."""

    __slots__ = ("spelled",)

    def __new__(cls, spelled: str) -> "_Number":
        number = super().__new__(cls, spelled)
        number.spelled = spelled
        return number


def explain(body: bytes, schema: Schema) -> str | None:
    """The first thing in `body` that does not fit `schema`; None if its JSON itself is broken, nothing is found, or it
    is too much to look at.
    """
    if body.count(b",") >= EXPLAINED:
        return None
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
    """A client's value as JSON, cut to a length that fits a message.

    Raises:
        RequestError: it is nested too deeply.
    """
    try:
        text = value.spelled if isinstance(value, _Number) else json.dumps(value)
    except RecursionError as exc:
        raise RequestError("the body is nested too deeply") from exc
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
                text = f"row {index}: unknown column {shorten(name)}{suggestion(name, schema.names)}"
                return Fault(text, None, "unknown", len(rows))
        for column in schema.columns:
            if column.name in row:
                if wrong := _wrong(row[column.name], column):
                    reason, text = wrong
                    return Fault(f"row {index}, column {column.name!r}: {text}", column.name, reason, len(rows))
            elif column.required:
                text = f"row {index}: column {column.name!r} is required and missing"
                return Fault(text, column.name, "missing", len(rows))
    return None


def _explain_inputs(request: dict[str, Any], schema: Schema) -> str | None:
    if "inputs" not in request:
        return None
    columns = request["inputs"]
    if isinstance(columns, list) and len(schema.columns) == 1:
        columns = {schema.columns[0].name: columns}
    if not isinstance(columns, dict):
        return f"inputs is {_kind(columns)}, expected an object of columns"
    rows = max((len(values) for values in columns.values() if isinstance(values, list)), default=0)
    for name in columns:
        if name not in schema.names and name not in schema.ignored:
            return Fault(f"unknown column {shorten(name)}{suggestion(name, schema.names)}", None, "unknown", rows)
    for column in schema.columns:
        if column.name not in columns:
            if column.required:
                return Fault(f"column {column.name!r} is required and missing", column.name, "missing", rows)
            continue
        values = columns[column.name]
        if not isinstance(values, list):
            return f"column {column.name!r} is {_kind(values)}, expected an array of values"
        for index, value in enumerate(values):
            if wrong := _wrong(value, column):
                reason, text = wrong
                return Fault(f"row {index}, column {column.name!r}: {text}", column.name, reason, rows)
    return None


def _wrong(value: Any, column: Column) -> tuple[str, str] | None:
    """What is wrong with `value` in `column`, in a word and in words; None if nothing is."""
    if value is None:
        return ("missing", "null is not a value of a required column") if column.required else None
    expected = EXPECTED[column.type]
    if column.type is ColumnType.IMAGE:
        return _wrong_picture(value, expected)
    if column.type in STRINGS:
        if not isinstance(value, str):
            return "type", f"{shorten(value)} is {_kind(value)}, expected {expected}"
        if any("\ud800" <= character <= "\udfff" for character in value):
            return "value", f"{shorten(value)} holds half of a surrogate pair, which is no text"
        return None
    if not isinstance(value, _Number):
        return "type", f"{shorten(value)} is {_kind(value)}, expected {expected}"
    said = _wrong_number(value, column.type, expected)
    return None if said is None else ("value", said)


def _wrong_number(value: _Number, kind: ColumnType, expected: str) -> str | None:
    if value.spelled in ("NaN", "Infinity", "-Infinity"):
        return f"{value.spelled} is not JSON, expected {expected}"
    if kind is ColumnType.NUMBER:
        return f"{shorten(value)} is beyond the largest float32, 3.4e38" if abs(value) > LARGEST_NUMBER else None
    if abs(value) > LARGEST_INTEGER:
        return f"{shorten(value)} is beyond 2**24, where float32 skips whole numbers"
    return None if value.is_integer() else f"{shorten(value)} is not a whole number"


def _wrong_picture(value: Any, expected: str) -> tuple[str, str] | None:
    if not isinstance(value, dict) or list(value) != ["b64"] or not isinstance(value["b64"], str):
        return "type", f"{shorten(value)} is {_kind(value)}, expected {expected}"
    try:
        encoded = base64.b64decode(value["b64"], validate=True)
    except ValueError as exc:
        return "value", f"{shorten(value)} is not base64: {exc}"
    return None if encoded else ("value", "the picture has no bytes")


def _kind(value: Any) -> str:
    return KINDS.get(type(value), "a number")
