"""TensorFlow's tensors, as its gRPC clients send them, to the values of columns."""

from base64 import b64encode
from typing import Any

import numpy as np

from penstock_serving.bodies import BODY_LIMIT
from penstock_serving.errors import RequestError, TooLargeError
from penstock_serving.explaining import shorten
from penstock_serving.schema import STRINGS, ColumnType, Schema

STRING = 7
NUMBERS: dict[int, tuple[str, str, str]] = {
    1: ("DT_FLOAT", "<f4", "float_val"),
    2: ("DT_DOUBLE", "<f8", "double_val"),
    3: ("DT_INT32", "<i4", "int_val"),
    4: ("DT_UINT8", "<u1", "int_val"),
    5: ("DT_INT16", "<i2", "int_val"),
    6: ("DT_INT8", "<i1", "int_val"),
    9: ("DT_INT64", "<i8", "int64_val"),
    17: ("DT_UINT16", "<u2", "int_val"),
    19: ("DT_HALF", "<f2", "half_val"),
    22: ("DT_UINT32", "<u4", "uint32_val"),
    23: ("DT_UINT64", "<u8", "uint64_val"),
}
"""By TensorFlow's number of the type: its name, NumPy's, and the field that holds values one by one."""
REPEATED_ROWS = 16384
"""So many rows may be said by the last value alone, which stands for all that follow it."""
FRAME_BYTES = 2
"""What a string takes on the wire beside its own bytes, at least."""


def repeated_bytes(inputs: Any) -> int:
    """What `columns` will repeat of last values, in the bytes that it would take on the wire.

    Raises:
        TooLargeError: it is more than a body may have.
    """
    total = 0
    for named in inputs:
        tensor = named.value
        count, size = _sent(tensor)
        rows = tensor.tensor_shape.dim[0].size if tensor.tensor_shape.dim else 0
        if count and count < rows <= REPEATED_ROWS:
            total += (rows - count) * size
            if total > BODY_LIMIT:
                raise TooLargeError(
                    f"input {shorten(named.key)} repeats {size} bytes in {rows - count} rows, the limit of what a"
                    f" request repeats is {BODY_LIMIT} bytes: post fewer rows at a time"
                )
    return total


def columns(inputs: Any, schema: Schema) -> dict[str, list[Any]]:
    """One value a row for each input, by name; NaN is missing. Ignored columns are not looked at.

    Raises:
        RequestError: an input is no column of values, or is of text where the schema wants numbers, or the reverse.
    """
    types = {column.name: column.type for column in schema.columns}
    found: dict[str, list[Any]] = {}
    for named in inputs:
        name, tensor = named.key, named.value
        if name in schema.ignored:
            continue
        text = tensor.dtype == STRING
        if name in types and text != (types[name] in STRINGS):
            given = "DT_STRING" if text else NUMBERS.get(tensor.dtype, (f"dtype {tensor.dtype}",))[0]
            raise RequestError(f"input {name!r} is {given}, expected {'DT_FLOAT' if text else 'DT_STRING'}")
        rows = _rows(name, tensor)
        if types.get(name) is ColumnType.IMAGE:
            values: list[Any] = [{"b64": b64encode(value).decode()} for value in tensor.string_val]
        else:
            values = _texts(name, tensor) if text else _numbers(name, tensor)
        if values and len(values) < rows <= REPEATED_ROWS:
            values += values[-1:] * (rows - len(values))
        if len(values) != rows:
            raise RequestError(f"input {name!r} has {len(values)} values and {rows} rows")
        found[name] = values
    return found


def _sent(tensor: Any) -> tuple[int, int]:
    """How many values a tensor holds, and the bytes of the last one."""
    if tensor.dtype == STRING:
        return len(tensor.string_val), FRAME_BYTES + len(tensor.string_val[-1]) if tensor.string_val else 0
    if tensor.dtype not in NUMBERS:
        return 0, 0
    _, kind, field = NUMBERS[tensor.dtype]
    size = np.dtype(kind).itemsize
    return len(tensor.tensor_content) // size or len(getattr(tensor, field)), size


def _rows(name: str, tensor: Any) -> int:
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or len(shape) not in (1, 2) or shape[1:] not in ([], [1]) or shape[0] < 1:
        raise RequestError(f"input {name!r} has shape {shape}, expected [rows] or [rows, 1]")
    return shape[0]


def _texts(name: str, tensor: Any) -> list[Any]:
    try:
        return [value.decode() for value in tensor.string_val]
    except UnicodeDecodeError as exc:
        raise RequestError(f"input {name!r} holds a string that is not UTF-8: {exc}") from exc


def _numbers(name: str, tensor: Any) -> list[Any]:
    if tensor.dtype not in NUMBERS:
        known = ", ".join(known for known, _, _ in NUMBERS.values())
        raise RequestError(f"input {name!r} has dtype {tensor.dtype}, expected DT_STRING or one of {known}")
    kind, field = np.dtype(NUMBERS[tensor.dtype][1]), NUMBERS[tensor.dtype][2]
    if tensor.tensor_content:
        if len(tensor.tensor_content) % kind.itemsize:
            size = len(tensor.tensor_content)
            raise RequestError(f"input {name!r} has {size} bytes, which is no number of {NUMBERS[tensor.dtype][0]}")
        values = np.frombuffer(tensor.tensor_content, kind).tolist()
    elif field == "half_val":
        values = (np.array(tensor.half_val, np.int64) & 0xFFFF).astype("<u2").view("<f2").tolist()
    else:
        values = list(getattr(tensor, field))
    return [None if value != value else value for value in values]
