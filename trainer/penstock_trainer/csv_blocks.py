"""CSV files as Arrow tables, a few megabytes at a time, and the rows that do not fit the schema, with file and line.

A block that Arrow reads at once as the schema says is taken as it is. Only a block with something wrong in it is read
again, row by row, to say what is wrong where.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions at import.)

import csv
import gzip
import io
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from penstock_trainer import files
from penstock_trainer.errors import InputError
from penstock_trainer.moments import FIRST, LAST
from penstock_trainer.problem import Category, Column, Image, Integer, Number, Text, Timestamp, suggestion
from penstock_trainer.sources import DeadLetter, Piece

BLOCK_BYTES = 16 << 20
PIECE_BYTES = 64 << 20
LONGEST_RECORD = 64 << 20
NEWLINE, QUOTE = b"\n", b'"'
LARGEST_INTEGER = 2**24  # float32 holds every whole number up to here
NULLS = ["", "NA", "NaN", "nan", "N/A", "null", "NULL", "None"]
ARROW_TYPES = {Number: pa.float32(), Integer: pa.int64(), Category: pa.string(), Text: pa.string()}
ARROW_TYPES[Timestamp] = pa.string()
ZONED = r"(Z|[+-]\d\d:?\d\d)$"
FRACTION, SHORT_ZONE = r"(:\d\d:\d\d)[.,]\d+", r"([T :]\d\d)([+-]\d\d)$"
CENTURIES = "not within the years 1 to 9999, in UTC"


def pieces(path: str, header: Sequence[str] = ()) -> Iterator[Piece]:
    """The file cut into runs of whole records of at least `PIECE_BYTES`, by one fast scan for quotes and line breaks; a
    file of no more than that is not scanned.

    Whether a line break ends a record depends on all quotes before it, so only a scan from the start can cut safely; it
    also finds each piece's first line. A compressed file is one piece: nobody can begin in its middle.
    """
    with _open(path) as file:
        start, line = 0, 1
        if not header:
            first_line = _complete_lines(file.readline(), file)
            start, line = len(first_line), 1 + first_line.count(NEWLINE)
        elif file.read(len(BOM_UTF8)) == BOM_UTF8:
            start = len(BOM_UTF8)
        else:
            file.seek(0)
        if path.endswith(".gz") or start < files.size(path) <= PIECE_BYTES:
            yield Piece(path, start, None, line)
            return
        end = start
        for block, first in _whole_records(file, path, line):
            if end - start >= PIECE_BYTES:
                yield Piece(path, start, end, line)
                start, line = end, first
            end += len(block)
        if end > start:
            yield Piece(path, start, end, line)


def read_piece(
    piece: Piece, columns: Mapping[str, Column], header: Sequence[str] = ()
) -> Iterator[tuple[pa.Table, list[DeadLetter]]]:
    """The piece's rows, block by block: (rows that fit, those that do not).

    Raises:
        InputError: the file lacks a column of the schema, or a record does not end.
    """
    path = piece.path
    with _open(path) as file:
        names = list(header) or header_names(path, _complete_lines(file.readline(), file), columns)
        file.seek(piece.start)
        for block, first in _whole_records(file, path, piece.line, piece.end):
            yield _parse(path, block, first, names, columns)


def _whole_records(file: BinaryIO, path: str, line: int, end: int | None = None) -> Iterator[tuple[bytes, int]]:
    """The file from where it stands to `end`, in blocks of whole records, each with its first line; `line` is where it
    stands.
    """
    rest = b""
    while True:
        left = BLOCK_BYTES if end is None else min(BLOCK_BYTES, end - file.tell())
        chunk = file.read(left)
        block, rest = _cut(rest + chunk, last=not chunk)
        following = line + _count(block, NEWLINE)
        if len(rest) > LONGEST_RECORD:
            raise InputError(
                f"{path}: the record that begins in line {following} does not end within {LONGEST_RECORD:,} bytes; "
                "is a quote left open?"
            )
        if block:
            yield block, line
            line = following
        if not chunk:
            return


def header_names(path: str, header: bytes, columns: Mapping[str, Column]) -> list[str]:
    """The names in a header line, once every column of the schema is among them."""
    try:
        names = next(csv.reader([header.decode("utf-8-sig")]), [])
    except UnicodeDecodeError as exc:
        raise InputError(f"{path}: the header is not UTF-8 text: {exc}") from exc
    if not names:
        raise InputError(f"{path} is empty: it has no header line with the columns' names")
    for name in columns:
        if name not in names:
            raise InputError(
                f"column {name!r} is declared in the problem, but {path} has none{suggestion(name, names)}"
            )
    return names


def check_file(path: str, columns: Mapping[str, Column], header: Sequence[str] = ()) -> None:
    """Raise InputError when the file cannot hold the schema's columns; reads its first line only."""
    for name, column in columns.items():
        if isinstance(column, Image):
            raise InputError(f"column {name!r} holds pictures, and {path} is CSV; pictures are read from Parquet files")
    with _open(path) as file:
        line = _complete_lines(file.readline(), file)
    if not header:
        header_names(path, line, columns)
        return
    fields = next(csv.reader([line.decode("utf-8-sig", errors="replace")]), [])
    if len(fields) != len(header):
        raise InputError(
            f"{path} has {len(fields)} fields in its first line, and the problem's header names {len(header)}"
        )
    if fields == list(header):
        raise InputError(f"{path} begins with a header line: the problem must not give `header`, or not for this file")


@contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked where it is compressed."""
    if not path.endswith(".gz"):
        with files.open_file(path) as file:
            yield file
        return
    try:
        with gzip.open(files.source(path), "rb") as file:
            yield file  # pyright: ignore[reportReturnType]
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise InputError(f"{path} cannot be unpacked ({exc}): is it complete, and compressed by gzip?") from exc


def _complete_lines(line: bytes, file: BinaryIO) -> bytes:
    """A header whose quoted name holds a line break goes on in the next line."""
    while line.count(b'"') % 2 and (more := file.readline()):
        line += more
    return line


def _cut(content: bytes, *, last: bool) -> tuple[bytes, bytes]:
    """Whole records, and the beginning of one that is not complete yet."""
    if last:
        return content, b""
    end = content.rfind(NEWLINE) + 1
    while end and _count(content, QUOTE, end) % 2:  # this line break stands within quotes
        end = content.rfind(NEWLINE, 0, end - 1) + 1
    return content[:end], content[end:]


def _count(content: bytes, character: bytes, end: int | None = None) -> int:
    """As `content.count(character, 0, end)`, three times as fast where the character is frequent."""
    return int(np.count_nonzero(np.frombuffer(content, np.uint8, len(content) if end is None else end) == character[0]))


def _parse(
    path: str, block: bytes, line: int, names: list[str], columns: Mapping[str, Column]
) -> tuple[pa.Table, list[DeadLetter]]:
    try:
        table = _read(block, names, columns)
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        table = None
    if table is not None and _fits(table, columns):
        return table, []
    good, bad = _sift(path, block, line, names, columns)
    return _read(good, names, columns), bad


def _read(block: bytes, names: list[str], columns: Mapping[str, Column]) -> pa.Table:
    types = {name: ARROW_TYPES[type(column)] for name, column in columns.items()}
    if not block:
        empty = {name: pa.chunked_array([pa.array([], type_)]) for name, type_ in types.items()}
        return pa.table({n: _moments(v) if isinstance(columns[n], Timestamp) else v for n, v in empty.items()})
    table = pa_csv.read_csv(
        pa.BufferReader(block),
        read_options=pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1),
        parse_options=pa_csv.ParseOptions(newlines_in_values=b'"' in block),
        convert_options=pa_csv.ConvertOptions(
            column_types=types, include_columns=list(columns), null_values=NULLS, strings_can_be_null=True
        ),
    )
    for place, (name, column) in enumerate(columns.items()):
        if isinstance(column, Timestamp):
            table = table.set_column(place, name, _moments(table[name]))
    return table


def _moments(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO 8601 text as moments, of whole seconds; UTC where the text names no zone."""
    try:
        return _whole_seconds(values)
    except pa.ArrowInvalid:
        plain = pc.replace_substring_regex(values, FRACTION, r"\1")
        return _whole_seconds(pc.replace_substring_regex(plain, SHORT_ZONE, r"\1\2:00"))


def _whole_seconds(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pc.all(pc.ends_with(values, "Z")).as_py():  # as most often, in a third of the time
        return values.cast(pa.timestamp("s", "UTC"))
    zoned = pc.match_substring_regex(values, ZONED)
    nothing = pa.scalar(None, pa.string())
    local = pc.if_else(zoned, nothing, values).cast(pa.timestamp("s"))
    absolute = pc.if_else(zoned, values, nothing).cast(pa.timestamp("s", "UTC"))
    return pc.coalesce(absolute, pc.assume_timezone(local, "UTC"))


def _fits(table: pa.Table, columns: Mapping[str, Column]) -> bool:
    for name, column in columns.items():
        values = table[name]
        if column.required and values.null_count:
            return False
        if isinstance(column, Number) and not pc.all(pc.is_finite(values)).as_py() and len(values) > values.null_count:
            return False
        if isinstance(column, Integer) and pc.any(pc.greater(pc.abs(values), LARGEST_INTEGER)).as_py():
            return False
        if isinstance(column, Timestamp) and pc.any(is_outside(values)).as_py():
            return False
    return True


def is_outside(moments: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether each moment, of whole seconds, is outside of `CENTURIES`."""
    seconds = moments.cast(pa.int64())
    return pc.or_(pc.less(seconds, FIRST), pc.greater(seconds, LAST))


def _sift(
    path: str, block: bytes, line: int, names: list[str], columns: Mapping[str, Column]
) -> tuple[bytes, list[DeadLetter]]:
    """The records of `block` that fit, as CSV again, and the others."""
    good, bad = io.StringIO(), []
    writer = csv.writer(good, lineterminator="\r\n")  # quotes a field that holds either character
    places = {name: names.index(name) for name in columns}
    csv.field_size_limit(LONGEST_RECORD)
    reader = csv.reader(io.StringIO(block.decode("utf-8", errors="surrogateescape"), newline=""))
    first = line
    for record in reader:
        start, first = first, line + reader.line_num
        if not record:
            continue
        fault = _fault(record, names, places, columns)
        if fault is None:
            writer.writerow(record)
        else:
            name, value, reason = fault
            shown = value.encode("utf-8", "backslashreplace").decode()[:200]
            bad.append(DeadLetter(path, start, name, shown, reason))
    # What is not UTF-8 in a column that nobody declared is as it was.
    return good.getvalue().encode(errors="surrogateescape"), bad


def _fault(
    record: list[str], names: list[str], places: Mapping[str, int], columns: Mapping[str, Column]
) -> tuple[str | None, str, str] | None:
    if len(record) != len(names):
        return None, ",".join(record), f"{len(record)} fields where the header has {len(names)}"
    for name, place in places.items():
        reason = _value_fault(record[place], columns[name])
        if reason:
            return name, record[place], reason
    return None


def _value_fault(text: str, column: Column) -> str | None:
    if text in NULLS:
        return "the column is required and the value is missing" if column.required else None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "not UTF-8 text"
    if isinstance(column, Category | Text):
        return None
    try:
        if isinstance(column, Timestamp):
            return CENTURIES if is_outside(_moments(pa.chunked_array([[text]])))[0].as_py() else None
        value = pa.scalar(text).cast(ARROW_TYPES[type(column)])
    except pa.ArrowInvalid:
        return f"not {'an' if isinstance(column, Integer) else 'a'} {column.type}"
    if isinstance(column, Number) and not pc.is_finite(value).as_py():
        return "not a finite number"
    if isinstance(column, Integer) and abs(value.as_py()) > LARGEST_INTEGER:
        return (
            f"beyond {LARGEST_INTEGER:,}, up to which float32 holds every whole number; declare the column a Category"
        )
    return None
