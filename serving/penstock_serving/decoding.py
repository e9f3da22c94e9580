"""A request's body to rows: strict, and typed by the model's schema.

The decoder is compiled from the schema once, by msgspec; a body that it refuses is read a second time, slowly, by
`explaining`, to say which column, row and value it was.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from penstock_serving.bodies import ROWS_LIMIT
from penstock_serving.errors import RequestError, TooLargeError
from penstock_serving.explaining import Fault, explain, refusal, shorten
from penstock_serving.schema import LARGEST_INTEGER, LARGEST_NUMBER, SIGNATURE, Column, ColumnType, Schema
from penstock_trainer.errors import InputError
from penstock_trainer.moments import seconds

Row = tuple[Any, ...]
"""One value for each of the schema's columns, in its order; None is missing."""


class Encoded(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Bytes in JSON, as TensorFlow Serving has them."""

    b64: Annotated[bytes, Meta(min_length=1)]


class _Rows(msgspec.Struct, gc=False):
    """A body whose rows are only counted."""

    instances: list[Raw] = []


_counting = msgspec.json.Decoder(_Rows)
COUNTED = 2 * ROWS_LIMIT
"""A body of fewer bytes cannot have too many rows."""

TYPES: dict[ColumnType, Any] = {
    ColumnType.NUMBER: Annotated[float, Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)],
    ColumnType.INTEGER: Annotated[float, Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER, multiple_of=1)],
    ColumnType.CATEGORY: str,
    ColumnType.TEXT: str,
    ColumnType.IMAGE: Encoded,
    ColumnType.TIMESTAMP: str,
}


@dataclass(frozen=True)
class Asked:
    """A request, whatever interface it came by: its rows, and what makes its answer of their predictions."""

    rows: list[Row]
    answer: Callable[[list[float]], Any]


@dataclass(frozen=True)
class PredictRequest:
    """What a client asks for: rows, posted one by one or, `columnar`, a column at a time."""

    rows: list[Row]
    columnar: bool


class RequestDecoder:
    """Decodes the bodies that clients post to one model."""

    def __init__(self, schema: Schema) -> None:
        """Compile the decoder of `schema`.

        Raises:
            InputError: a column's name cannot be a JSON key as it stands.
        """
        self._schema = schema
        types = {column.type for column in schema.columns}
        self._pictures = ColumnType.IMAGE in types
        self._timestamps = ColumnType.TIMESTAMP in types
        self._width = len(schema.columns)
        try:
            self._row_type = _struct("Row", schema, rows=True)
            self._columns_type = _struct("Columns", schema, rows=False)
        except ValueError as exc:
            raise InputError(f"a column's name cannot be a JSON key: {exc}") from exc
        instance, inputs = self._row_type, self._columns_type
        # As in TensorFlow Serving, one column needs no name: {"instances": [1.0, 2.0]}. A picture does: it is an
        # object, as a row is.
        if self._width == 1 and schema.columns[0].type is not ColumnType.IMAGE:
            only = _value_type(schema.columns[0])
            instance, inputs = instance | only, inputs | list[only]
        body = msgspec.defstruct(
            "Body",
            [
                ("instances", list[instance] | UnsetType, UNSET),
                ("inputs", inputs | UnsetType, UNSET),
                ("signature_name", str, SIGNATURE),
            ],
            forbid_unknown_fields=True,
        )
        self._decoder = msgspec.json.Decoder(body)

    def decode(self, body: bytes) -> PredictRequest:
        """The rows in `body`.

        Raises:
            RequestError: the body is not JSON, not a predict request, or one of its values does not fit its column.
            TooLargeError: it has too many rows.
        """
        try:
            if len(body) > COUNTED and body.count(b"{") > ROWS_LIMIT:
                # Decoded, so many rows of many columns would take more memory than there is.
                counted = _counting.decode(body).instances
                if len(counted) > ROWS_LIMIT:
                    raise _too_many(counted)
            request: Any = self._decoder.decode(body)
        except RecursionError as exc:
            raise RequestError("the body is nested too deeply") from exc
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise refusal(explain(body, self._schema) or f"the body is no predict request: {exc}") from exc
        if request.signature_name != SIGNATURE:
            raise RequestError(f"signature_name is {shorten(request.signature_name)}, this model has {SIGNATURE!r}")
        if (request.instances is UNSET) == (request.inputs is UNSET):
            found = "neither" if request.inputs is UNSET else "both"
            raise RequestError(f"the body has {found} of 'instances' and 'inputs', expected one")
        columnar = request.instances is UNSET
        rows = self._rows_of_columns(request.inputs) if columnar else self._rows(request.instances)
        if not rows:
            raise RequestError(f"{'inputs' if columnar else 'instances'} holds no row")
        return PredictRequest(self._opened(rows), columnar)

    def rows_of(self, columns: Mapping[str, list[Any]]) -> list[Row]:
        """The rows in columns of values that did not come as JSON; None is missing.

        Raises:
            RequestError: a value does not fit its column, or a column is unknown, or missing and required.
            TooLargeError: there are too many rows.
        """
        if max(map(len, columns.values()), default=0) > ROWS_LIMIT:
            raise _too_many(*columns.values())
        try:
            found = msgspec.convert(columns, self._columns_type)
        except msgspec.ValidationError as exc:
            try:
                said = explain(json.dumps({"inputs": columns}).encode(), self._schema)
            except RecursionError:
                raise RequestError("the body is nested too deeply") from exc
            raise refusal(said or f"the columns do not fit the model: {exc}") from exc
        rows = self._rows_of_columns(found)
        if not rows:
            raise RequestError("the request holds no column of the model")
        return self._opened(rows)

    def _opened(self, rows: list[Row]) -> list[Row]:
        """Pictures as bytes, timestamps as seconds since 1970.

        Raises:
            RequestError: what is posted as a timestamp is none.
        """
        if self._pictures:
            rows = [tuple(value.b64 if isinstance(value, Encoded) else value for value in row) for row in rows]
        if not self._timestamps:
            return rows
        columns = list(map(list, zip(*rows, strict=True)))
        for values, column in zip(columns, self._schema.columns, strict=True):
            if column.type is ColumnType.TIMESTAMP:
                for index, value in enumerate(values):
                    try:
                        values[index] = _moment(value, column)
                    except ValueError as exc:
                        said = f"row {index}, column {column.name!r}: {shorten(value)} is no moment in ISO 8601: {exc}"
                        raise refusal(Fault(said, column.name, "value", len(rows))) from exc
        return list(zip(*columns, strict=True))

    def _rows(self, instances: list[Any]) -> list[Row]:
        """Rows as the model takes them: without the ignored columns, which come last in the struct.

        Raises:
            TooLargeError: there are too many.
        """
        if len(instances) > ROWS_LIMIT:
            raise _too_many(instances)
        width, row_type = self._width, self._row_type
        if width == 1:
            return [(row.c0,) if isinstance(row, row_type) else (row,) for row in instances]
        return [msgspec.structs.astuple(row)[:width] for row in instances]

    def _rows_of_columns(self, inputs: Any) -> list[Row]:
        """Columns turned into rows; an absent column is None in each.

        Raises:
            RequestError: the columns are not of one length.
            TooLargeError: there are too many rows.
        """
        if not isinstance(inputs, self._columns_type):
            if len(inputs) > ROWS_LIMIT:
                raise _too_many(inputs)
            return [(value,) for value in inputs]
        columns = msgspec.structs.astuple(inputs)[: self._width]
        lengths = {name: len(v) for name, v in zip(self._schema.names, columns, strict=True) if v is not UNSET}
        if not lengths:
            return []
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        if lengths[shortest] != lengths[longest]:
            raise RequestError(
                f"column {longest!r} has {lengths[longest]} values and column {shortest!r} has {lengths[shortest]}:"
                " the columns of one request are equally long"
            )
        if lengths[longest] > ROWS_LIMIT:
            raise _too_many(*(values for values in columns if values is not UNSET))
        return list(zip(*(repeat(None, lengths[longest]) if v is UNSET else v for v in columns), strict=True))


def _too_many(*columns: list[Any]) -> TooLargeError:
    """The refusal of a request of so many rows. They are emptied: an exception keeps what its frames name."""
    rows = max(map(len, columns))
    for values in columns:
        values.clear()
    return TooLargeError(f"the request has {rows} rows, the limit is {ROWS_LIMIT}: post fewer rows at a time")


def _moment(value: str | None, column: Column) -> int | None:
    """In seconds since 1970; "", all that a tensor of strings can say, is missing too."""
    return None if value is None or (value == "" and not column.required) else seconds(value)


def _value_type(column: Column) -> Any:
    """The msgspec type of one value of `column`."""
    return TYPES[column.type] if column.required else TYPES[column.type] | None


def _struct(name: str, schema: Schema, rows: bool) -> Any:
    """A struct of the schema's columns and, after them, the ignored ones, whose values are skipped unread.

    Fields are called c0, c1, ...: a column's own name need not be an identifier.
    """
    fields: list[Any] = []
    for index, column in enumerate(schema.columns):
        value = _value_type(column)
        kind, default = (value, None) if rows else (list[value] | UnsetType, UNSET)
        if column.required:
            fields.append((f"c{index}", value if rows else list[value]))
        else:
            fields.append((f"c{index}", kind, default))
    fields += [(f"i{index}", Raw, Raw()) for index in range(len(schema.ignored))]
    names = dict(zip([field[0] for field in fields], [*schema.names, *schema.ignored], strict=True))
    return msgspec.defstruct(name, fields, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False)
