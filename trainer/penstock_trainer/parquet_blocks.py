"""Parquet files as Arrow tables, some ten thousand rows at a time, and the rows that do not fit the schema."""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions at import.)

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from penstock_trainer import files
from penstock_trainer.csv_blocks import ARROW_TYPES, CENTURIES, LARGEST_INTEGER, is_outside
from penstock_trainer.errors import InputError
from penstock_trainer.problem import Category, Column, Image, Integer, Number, Text, Timestamp, suggestion
from penstock_trainer.sources import DeadLetter, Piece

BATCH_ROWS = 131_072
BATCH_BYTES = 64 << 20  # of decoded pictures
DECODED = " decoded"


def pieces(path: str, header: Sequence[str] = ()) -> Iterator[Piece]:  # noqa: ARG001 - a Parquet file has its own
    """The file's row groups, one a piece."""
    metadata = _open(path).metadata
    row = 1
    for group in range(metadata.num_row_groups):
        yield Piece(path, group, group + 1, row)
        row += metadata.row_group(group).num_rows


def read_piece(
    piece: Piece,
    columns: Mapping[str, Column],
    header: Sequence[str] = (),  # noqa: ARG001
) -> Iterator[tuple[pa.Table, list[DeadLetter]]]:
    """The piece's rows, batch by batch: (rows that fit, those that do not)."""
    assert piece.end is not None
    row = piece.line
    groups = list(range(piece.start, piece.end))
    decoded = sum(column.bytes for column in columns.values() if isinstance(column, Image))
    rows = max(1, min(BATCH_ROWS, BATCH_BYTES // decoded)) if decoded else BATCH_ROWS
    for batch in _open(piece.path).iter_batches(rows, row_groups=groups, columns=list(columns)):
        raw = pa.Table.from_batches([batch]).select(list(columns))
        faults = {name: _faults(raw[name], column) for name, column in columns.items()}
        raw = _decode_pictures(raw, columns, faults)
        good, letters = _sift(raw, faults, piece.path, row)
        arrays = {name: _convert(good, name, column) for name, column in columns.items()}
        yield pa.table(arrays), letters
        row += raw.num_rows


def check_file(path: str, columns: Mapping[str, Column], header: Sequence[str] = ()) -> None:  # noqa: ARG001
    """Raise InputError when a column is missing or of a type that does not fit its declaration."""
    schema = _open(path).schema_arrow
    for name, column in columns.items():
        if name not in schema.names:
            raise InputError(
                f"column {name!r} is declared in the problem, but {path} has none{suggestion(name, schema.names)}"
            )
        if not _suits(schema.field(name).type, column):
            type_ = schema.field(name).type
            raise InputError(f"column {name!r} is declared a {column.type}, but {path} has it as {type_}")


def pictures() -> Any:
    """TensorFlow, which decodes them, takes seconds to import."""
    from penstock_trainer import pictures

    return pictures


def _open(path: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(files.source(path))
    except pa.ArrowInvalid as exc:
        raise InputError(f"{path} is no Parquet file: {exc}") from exc


def _suits(type_: pa.DataType, column: Column) -> bool:
    if pt.is_dictionary(type_):
        type_ = type_.value_type
    if isinstance(column, Number | Integer):
        return pt.is_integer(type_) or pt.is_floating(type_) or pt.is_decimal(type_) or pt.is_boolean(type_)
    if isinstance(column, Timestamp):
        return pt.is_timestamp(type_) or pt.is_date(type_)
    if isinstance(column, Image):
        if pt.is_struct(type_) and type_.get_field_index("bytes") >= 0:
            type_ = type_.field("bytes").type
        return pt.is_binary(type_) or pt.is_large_binary(type_)
    if isinstance(column, Text):
        return pt.is_string(type_) or pt.is_large_string(type_)
    return pt.is_string(type_) or pt.is_large_string(type_) or pt.is_integer(type_) or pt.is_boolean(type_)


def _faults(values: pa.ChunkedArray, column: Column) -> list[tuple[pa.ChunkedArray, str]]:
    """(which rows, what is wrong with them), for each thing that can be."""
    found = []
    if isinstance(column, Image):
        values = pictures().encoded(values)
    if isinstance(column, Category | Text):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            found.append((_not_utf8(values), "not UTF-8 text"))
    if column.required:
        found.append((values.is_null(), "the column is required and the value is missing"))
        if isinstance(column, Category | Text):
            found.append((pc.equal(values.cast(pa.string()), ""), "the column is required and the value is empty"))
    if isinstance(column, Number | Integer):
        numbers = _numbers(values)
        finite = pc.is_finite(numbers.cast(pa.float32()))
        # A NaN in a Parquet file stands for a missing value, as data frames write them.
        found.append((pc.invert(pc.or_(finite, pc.is_nan(numbers))), "not a finite number"))
        if column.required:
            found.append((pc.is_nan(numbers), "the column is required and the value is missing"))
        if isinstance(column, Integer):
            found.append((pc.and_(finite, pc.not_equal(pc.floor(numbers), numbers)), "not an integer"))
            beyond = pc.and_(finite, pc.greater(pc.abs(numbers), LARGEST_INTEGER))
            found.append((beyond, f"beyond {LARGEST_INTEGER:,}, up to which float32 holds every whole number"))
    if isinstance(column, Timestamp):
        found.append((is_outside(_whole_seconds(values)), CENTURIES))
    return [(rows.fill_null(False), reason) for rows, reason in found]


def _sift(
    table: pa.Table, faults: Mapping[str, list[tuple[pa.ChunkedArray, str]]], path: str, first: int
) -> tuple[pa.Table, list[DeadLetter]]:
    letters: dict[int, DeadLetter] = {}
    for name, found in faults.items():
        for rows, reason in found:
            for place in pc.indices_nonzero(rows).to_pylist():
                shown = _shown(table[name][place])[:200]
                letters.setdefault(place, DeadLetter(path, first + place, name, shown, reason))
    if not letters:
        return table, []
    keep = pa.array([place not in letters for place in range(table.num_rows)])
    return table.filter(keep), [letters[place] for place in sorted(letters)]


def _not_utf8(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether each text has bytes that are not UTF-8, one by one."""
    texts = values.cast(pa.string()).cast(pa.binary()).fill_null(b"").to_pylist()
    bad = [text.decode(errors="replace").encode() != text for text in texts]
    return pa.chunked_array([pa.array(bad, pa.bool_())])


def _shown(value: pa.Scalar) -> str:
    """A value as a dead letter has it, be it no text or a moment outside of the years that Python has, 1 to 9999."""
    if isinstance(value, pa.DictionaryScalar):
        value = value.value
    if isinstance(value, pa.TimestampScalar):
        value = value.cast(pa.string())
    if isinstance(value, pa.StringScalar) and value.is_valid:
        return value.as_buffer().to_pybytes().decode(errors="backslashreplace")
    return str(value.as_py())


def _numbers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values.cast(pa.int8()).cast(pa.float64()) if pt.is_boolean(values.type) else values.cast(pa.float64())


def _decode_pictures(table: pa.Table, columns: Mapping[str, Column], faults: Mapping[str, list[Any]]) -> pa.Table:
    """The table with another column for each of pictures, decoded; what is no picture is added to `faults`."""
    for name, column in columns.items():
        if isinstance(column, Image):
            found, bad = pictures().decode(pictures().encoded(table[name]), column)
            table = table.append_column(name + DECODED, found)
            faults[name].append((pa.chunked_array([pa.array(bad)]), "not a picture in PNG, JPEG, GIF or BMP"))
    return table


def _convert(table: pa.Table, name: str, column: Column) -> pa.ChunkedArray:
    """As CSV blocks come."""
    if isinstance(column, Image):
        return table[name + DECODED]
    values = table[name]
    if isinstance(column, Number | Integer):
        numbers = _numbers(values)
        return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers).cast(ARROW_TYPES[type(column)])
    if isinstance(column, Category | Text):
        text = values.cast(pa.string())
        return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    return _whole_seconds(values)


def _whole_seconds(values: pa.ChunkedArray) -> pa.ChunkedArray:
    moments = values.cast(pa.timestamp("s"), safe=False) if pt.is_date(values.type) else values
    in_utc = moments.cast(pa.timestamp(moments.type.unit))  # whatever the zone it is shown in; without one it is UTC
    return pc.floor_temporal(in_utc, unit="second").cast(pa.timestamp("s", "UTC"))
