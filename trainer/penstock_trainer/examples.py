"""Examples: shuffled blocks of columns, which a graph gets as they are on the disk.

A block is a matrix of four-byte cells, one row a column: first the numbers (float32, missing is NaN), then the
categories (int32 codes), then what takes several cells (a text's tokens, int32 codes; a picture's pixels, bytes), last
the label (float32). A category's code is its rank among the training rows, so a smaller
vocabulary is a threshold, never a look-up. `MISSING` is negative, and so is a category that no training row had:
`UNKNOWN` or below, by a hash of its text. Written with numpy; a worker that has no Python can read it. Part of the
light core.
"""

import json
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MISSING = -1
UNKNOWN = -2
HASHES = 2**30
INDEX = "examples.json"


@dataclass(frozen=True)
class Block:
    """One file of examples: its path relative to the dataset, and how many rows it holds."""

    path: str
    rows: int


@dataclass(frozen=True)
class Examples:
    """What a dataset's blocks hold: the order of the columns, and the blocks of each split."""

    numbers: Sequence[str]
    categories: Sequence[str]
    blocks: Mapping[str, Sequence[Block]]
    cells: Mapping[str, int] = field(default_factory=dict)  # of the columns that take several

    @property
    def width(self) -> int:
        """Cells per row, the label included."""
        return len(self.numbers) + len(self.categories) + sum(self.cells.values()) + 1

    def rows(self, split: str) -> int:
        """How many examples the split has."""
        return sum(block.rows for block in self.blocks[split])

    def to_json(self) -> str:
        """The content of the index, `INDEX`."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def read(cls, directory: Path) -> "Examples":
        """The index of the dataset in `directory`."""
        value: dict[str, Any] = json.loads((directory / INDEX).read_text())
        blocks = {split: [Block(**block) for block in found] for split, found in value["blocks"].items()}
        return cls(value["numbers"], value["categories"], blocks, value.get("cells", {}))


def write_block(file: BinaryIO, numbers: np.ndarray, codes: np.ndarray, label: np.ndarray) -> None:
    """Write float32 `numbers` of shape [number columns, rows], int32 `codes` [category columns and cells of those that
    take several, rows], float32 `label` [rows].
    """
    for matrix, cell in ((numbers, "<f4"), (codes, "<i4"), (label, "<f4")):
        file.write(np.ascontiguousarray(matrix, cell).tobytes())


def map_block(path: Path) -> np.ndarray:
    """A block's cells, one row a column after the other, float32 of shape [width * rows]: the kernel's own pages of the
    file, of which nothing is copied but what is written to.
    """
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    pages.madvise(mmap.MADV_WILLNEED)
    return np.frombuffer(pages, "<f4")


def read_block(path: Path, examples: Examples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(numbers, codes, label) as `write_block` took them."""
    cells = map_block(path).reshape(examples.width, -1)
    first_code, label = len(examples.numbers), examples.width - 1
    return cells[:first_code], cells[first_code:label].view("<i4"), cells[label]
