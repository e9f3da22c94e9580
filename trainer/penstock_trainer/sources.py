"""Raw files in pieces that machines read side by side, whatever their format."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock_trainer.problem import Column

PATTERNS = ("*.csv", "*.csv.gz", "*.parquet")


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


def pieces(path: Path) -> Iterator[Piece]:
    """The file, cut."""
    return _format(path).pieces(path)


def read_piece(piece: Piece, columns: Mapping[str, Column]) -> Iterator[tuple[Any, list[DeadLetter]]]:
    """The piece's rows, batch by batch: (Arrow table of the rows that fit the schema, those that do not)."""
    return _format(Path(piece.path)).read_piece(piece, columns)


def check_file(path: Path, columns: Mapping[str, Column]) -> None:
    """Raise InputError when the file cannot hold the schema's columns; reads its header only."""
    _format(path).check_file(path, columns)


def _format(path: Path) -> Any:
    from penstock_trainer import csv_blocks, parquet_blocks

    return parquet_blocks if path.suffix == ".parquet" else csv_blocks
