"""The Open Inference Protocol, version 2, over REST: tensors by name, one a column, of shape [rows] or [rows, 1].

With its extension for binary tensors, which kserve's client sends unless told otherwise: a JSON header of a stated
length, and after it the tensors' bytes, little-endian, each string behind its length.
"""

import struct
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from penstock_serving.decoding import Asked
from penstock_serving.errors import RequestError
from penstock_serving.explaining import shorten
from penstock_serving.messages import Response, Scope, encode, header
from penstock_serving.schema import OUTPUT, STRINGS, ColumnType, Schema
from penstock_serving.served import ServedModel

HEADER_LENGTH = b"inference-header-content-length"
BYTES = "BYTES"
SIGNS = {"INT": "i", "UINT": "u"}
WHOLE = {f"{sign}{8 * size}": np.dtype(f"<{SIGNS[sign]}{size}") for sign in SIGNS for size in (1, 2, 4, 8)}
NUMBERS = {**WHOLE, "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}
DATATYPES = {ColumnType.NUMBER: "FP32", ColumnType.INTEGER: "INT64", **dict.fromkeys(STRINGS, BYTES)}
"""What the metadata says of a column; any datatype of numbers does for one of numbers."""


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | UnsetType = UNSET
    parameters: dict[str, Any] = {}


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Inference(msgspec.Struct):
    inputs: list[_Tensor]
    id: str | None = None
    outputs: list[_Output] = []
    parameters: dict[str, Any] = {}

    @property
    def binary(self) -> bool:
        """Whether the answer is to be bytes."""
        otherwise = self.parameters.get("binary_data_output", False)
        return any(
            output.parameters.get("binary_data", otherwise) is True for output in self.outputs or [_Output(OUTPUT)]
        )


_decoder = msgspec.json.Decoder(_Inference)


def server() -> dict[str, Any]:
    """What this server speaks."""
    return {"name": "penstock", "version": "2", "extensions": ["binary_tensor_data"]}


def metadata(served: ServedModel, versions: Sequence[str]) -> dict[str, Any]:
    """The model's tensors, by its schema."""
    inputs = [{"name": c.name, "datatype": DATATYPES[c.type], "shape": [-1]} for c in served.sealed.schema.columns]
    outputs = [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, *_each(served.sealed.schema)]}]
    return {
        "name": served.name,
        "versions": list(versions),
        "platform": f"penstock_{served.backend}",
        "inputs": inputs,
        "outputs": outputs,
    }


def decode(scope: Scope) -> Callable[[ServedModel, bytes], Asked]:
    """What decodes the body of this request.

    Raises:
        RequestError: its header states no length.
    """
    stated = header(scope["headers"], HEADER_LENGTH)
    if stated is not None and not (stated.isdigit() and len(stated) < 12):
        raise RequestError(
            f"{HEADER_LENGTH.decode()} is {shorten(stated.decode('latin-1'))}, expected a number of bytes"
        )
    return partial(_decode, None if stated is None else int(stated))


def _decode(length: int | None, served: ServedModel, body: bytes) -> Asked:
    if length is not None and length > len(body):
        raise RequestError(f"{HEADER_LENGTH.decode()} is {length}, the body has {len(body)} bytes")
    try:
        request = _decoder.decode(body if length is None else memoryview(body)[:length])
    except RecursionError as exc:
        raise RequestError("the body is nested too deeply") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise RequestError(f"the body is no inference request: {exc}") from exc
    for output in request.outputs:
        if output.name != OUTPUT:
            raise RequestError(f"there is no output {shorten(output.name)}, expected {OUTPUT!r}")
    columns = _columns(request.inputs, served.sealed.schema, b"" if length is None else body[length:])
    return Asked(served.decoder.rows_of(columns), partial(_answer, served, request))


def _columns(tensors: Sequence[_Tensor], schema: Schema, rest: bytes) -> dict[str, list[Any]]:
    """Values by column; `rest` is what the binary ones among the tensors take theirs from, in their order."""
    known = {column.name: column for column in schema.columns}
    found: dict[str, list[Any]] = {}
    start = 0
    for tensor in tensors:
        size = tensor.parameters.get("binary_data_size")
        content = None
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(rest) - start:
                raise RequestError(
                    f"tensor {tensor.name!r}: binary_data_size is {shorten(size)}, {len(rest) - start} bytes are left"
                )
            content, start = rest[start : start + size], start + size
        if tensor.name in schema.ignored:
            continue
        if tensor.name in found:
            raise RequestError(f"tensor {tensor.name!r} is there twice")
        column = known.get(tensor.name)
        picture = column is not None and column.type is ColumnType.IMAGE
        values = _values(tensor, content, picture)
        if column is not None and (tensor.datatype == BYTES) != (column.type in STRINGS):
            raise RequestError(
                f"tensor {tensor.name!r} has datatype {tensor.datatype}, expected {DATATYPES[column.type]}"
            )
        found[tensor.name] = values
    if start != len(rest):
        raise RequestError(f"{len(rest) - start} bytes follow the last tensor")
    return found


def _values(tensor: _Tensor, content: bytes | None, picture: bool) -> list[Any]:
    """One value a row; one that is not a number is missing. A picture is bytes, or base64 where it comes as JSON."""
    name, shape = f"tensor {tensor.name!r}", tensor.shape
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)) or shape[0] < 1:
        raise RequestError(f"{name} has shape {shorten(shape)}, expected [rows] or [rows, 1]")
    if tensor.datatype != BYTES and tensor.datatype not in NUMBERS:
        raise RequestError(
            f"{name} has datatype {shorten(tensor.datatype)},"
            f" expected {BYTES} for text, or for numbers {', '.join(NUMBERS)}"
        )
    if (content is None) == (tensor.data is UNSET):
        raise RequestError(f"{name} has {'no' if content is None else 'two kinds of'} data, expected 'data' or bytes")
    if content is not None:
        if tensor.datatype == BYTES:
            values = _texts(name, content, picture)
        else:
            values = _numbers(name, tensor.datatype, content)
    else:
        values = _flat(name, tensor.data)
        if picture:
            values = [None if value is None else {"b64": value} for value in values]
        if tensor.datatype in WHOLE:
            for index, value in enumerate(values):
                if value is not None and type(value) is not int:
                    raise RequestError(f"{name}, row {index}: {shorten(value)} is no {tensor.datatype}")
    if len(values) != shape[0]:
        raise RequestError(f"{name} has {len(values)} values and shape {shorten(shape)}")
    return values


def _flat(name: str, data: Any) -> list[Any]:
    """Values that may be rows of one each."""
    if not any(isinstance(value, list) for value in data):
        return data
    for index, value in enumerate(data):
        if not isinstance(value, list) or len(value) != 1:
            raise RequestError(f"{name}, row {index}: {shorten(value)} is not one value")
    return [value for (value,) in data]


def _numbers(name: str, datatype: str, content: bytes) -> list[Any]:
    kind = NUMBERS[datatype]
    if len(content) % kind.itemsize:
        raise RequestError(f"{name} has {len(content)} bytes, which is no number of {datatype}")
    return [None if value != value else value for value in np.frombuffer(content, kind).tolist()]


def _texts(name: str, content: bytes, picture: bool) -> list[Any]:
    found: list[Any] = []
    place = 0
    while place < len(content):
        try:
            (size,) = struct.unpack_from("<I", content, place)
            text = content[place + 4 : place + 4 + size]
            if len(text) != size:
                raise ValueError(f"{size} bytes are announced, {len(text)} are left")
            found.append({"b64": b64encode(text).decode()} if picture else text.decode())
        except (struct.error, ValueError) as exc:
            raise RequestError(f"{name}, row {len(found)}: no text behind its length: {exc}") from exc
        place += 4 + size
    return found


def _each(schema: Schema) -> list[int]:
    """The shape of one row's answer."""
    return [len(schema.classes)] if schema.classes else []


def _answer(served: ServedModel, request: _Inference, predictions: Sequence[Any]) -> Response:
    each = _each(served.sealed.schema)
    tensor: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": [len(predictions), *each]}
    answer: dict[str, Any] = {"model_name": served.name, "model_version": served.version, "outputs": [tensor]}
    if request.id is not None:
        answer["id"] = request.id
    if not request.binary:
        tensor["data"] = [value for row in predictions for value in row] if each else predictions
        return Response(encode(answer))
    content = np.array(predictions, "<f4").tobytes()
    tensor["parameters"] = {"binary_data_size": len(content)}
    head = encode(answer)
    stated = {HEADER_LENGTH.decode(): str(len(head))}
    return Response(head + content, content_type="application/octet-stream", headers=stated)
