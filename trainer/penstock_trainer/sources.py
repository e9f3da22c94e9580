"""Raw files in pieces that machines read side by side, whatever their format."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock_trainer.problem import Column

ENDINGS = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class Piece:
    """A run of whole records of a file.

    CSV: the bytes from `start` to `end` (None: to the end), the first record in line `line`. Parquet: the row groups
    from `start` to `end`, the first row being row `line`, counted from 1.
    """

    path: str
    start: int
    end: int | None
    line: int


@dataclass(frozen=True)
class DeadLetter:
    """A row that could not be taken: where it stands (a CSV file's line, a Parquet file's row), and what is wrong."""

    file: str
    line: int
    column: str | None
    value: str
    reason: str


def pieces(path: str, header: Sequence[str] = ()) -> Iterator[Piece]:
    """The file, cut. `header`: the names of a CSV file's columns, where it has no line of its own for them."""
    return _format(path).pieces(path, header)


def read_piece(
    piece: Piece, columns: Mapping[str, Column], header: Sequence[str] = ()
) -> Iterator[tuple[Any, list[DeadLetter]]]:
    """The piece's rows, batch by batch: (Arrow table of the rows that fit the schema, those that do not)."""
    return _format(piece.path).read_piece(piece, columns, header)


def check_file(path: str, columns: Mapping[str, Column], header: Sequence[str] = ()) -> None:
    """Raise InputError when the file cannot hold the schema's columns; reads its beginning only."""
    _format(path).check_file(path, columns, header)


def _format(path: str) -> Any:
    from penstock_trainer import csv_blocks, parquet_blocks

    return parquet_blocks if path.endswith(".parquet") else csv_blocks
