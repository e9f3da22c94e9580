"""The slim form of a model: categories are looked up and timestamps read in Python, everything after them is one LiteRT
graph.

No TensorFlow. Export proves it equal to the SavedModel by this code, and the server answers with the same code. Part of
the light core.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock_trainer.examples import HASHES, MISSING, UNKNOWN
from penstock_trainer.moments import CELLS, cells

FOLDER = "slim"
GRAPH = "model.tflite"
LOOKUPS = "lookups.json"
BATCH_SIZES = 1, 4, 16, 32, 64, 128
"""Rows of the graphs that a model has in memory, half a MiB each. Up to 16 rows, half as many take almost as long; 256
take twice as long as 128."""


class SlimModel:
    """Answers rows of raw values from a `slim/` folder; one thread at a time."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        """Load the look-ups and the graph, once for each of `BATCH_SIZES`.

        An interpreter takes as long to change its batch size as to answer 200 rows, so each size has its own; they
        share the graph's constants.

        Raises:
            ValueError: the folder is of a model of other columns, or is none.
        """
        found: Mapping[str, Any] = json.loads((folder / LOOKUPS).read_bytes())
        if found["columns"] != list(columns):
            raise ValueError(f"its columns are {found['columns']}, the schema's {list(columns)}")
        categories: Mapping[str, Any] = found["categories"]
        timestamps: Sequence[str] = found.get("timestamps", ())
        self.timestamps = [place for place, name in enumerate(columns) if name in timestamps]
        others = {*categories, *timestamps}
        self.numbers = [place for place, name in enumerate(columns) if name not in others]
        self.words: Mapping[int, Sequence[str]] = {
            place: categories[name]["words"] for place, name in enumerate(columns) if name in categories
        }
        """The known categories by their code, for each column's place."""
        self._codes = {place: _codes(**categories[columns[place]]) for place in self.words}
        graph = (folder / GRAPH).read_bytes()
        shape = len(self.numbers), len(self._codes) + CELLS * len(self.timestamps)
        self._batches = [_Batch(graph, *shape, size) for size in BATCH_SIZES]

    def codes(self, columns: Sequence[Sequence[Any]]) -> tuple[NDArray[np.int32], dict[int, list[str]]]:
        """Of one sequence of str or None for each of the schema's columns: the categories' codes, [places in `words`,
        rows], and by place the texts that no code stands for.
        """
        found = [[*map(codes.__getitem__, columns[place])] for place, codes in self._codes.items()]
        unknown = {place: codes.take_unknown() for place, codes in self._codes.items() if codes.unknown}
        return np.array(found, np.int32).reshape(len(found), len(columns[0])), unknown

    def predict(
        self,
        columns: Sequence[Sequence[Any]],
        numbers: NDArray[np.float32] | None = None,
        codes: NDArray[np.int32] | None = None,
        moments: NDArray[np.int32] | None = None,
    ) -> list[Any]:
        """One answer a row, from one sequence of values a column, in the schema's order.

        Numbers are float or None, categories str or None, timestamps seconds since 1970 or None. Where the caller has
        them already: `numbers` are those at the places `self.numbers`, float32 of shape [places, rows], `codes` what
        the method of that name gives, and `moments` what `moments.cells` makes of those at `self.timestamps`.

        Raises:
            RuntimeError: the graph refuses a row.
        """
        rows = len(columns[0])
        if numbers is None:  # None becomes NaN
            numbers = np.array([columns[place] for place in self.numbers], np.float32).reshape(len(self.numbers), rows)
        if codes is None:
            codes, _ = self.codes(columns)
        if self.timestamps:
            if moments is None:
                moments = np.concatenate([cells(columns[place]) for place in self.timestamps])
            codes = np.concatenate([codes, moments])
        answers: list[Any] = []
        for start in range(0, rows, BATCH_SIZES[-1]):
            piece = slice(start, min(start + BATCH_SIZES[-1], rows))
            batch = self._batches[bisect_left(BATCH_SIZES, piece.stop - start)]
            answers += batch.answer(numbers[:, piece], codes[:, piece], piece.stop - start)
        return answers


class _Batch:
    """The graph at one batch size; what is beyond a call's own rows is left from the call before and not looked at."""

    def __init__(self, graph: bytes, numbers: int, categories: int, rows: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = interpreter = Interpreter(model_content=graph, num_threads=1)
        self._numbers = np.zeros((numbers, rows), np.float32)
        self._codes = np.full((categories, rows), MISSING, np.int32)
        # The converter leaves out an input that no feature needs.
        given = {np.float32: self._numbers, np.int32: self._codes}
        self._inputs = [(d["index"], given[d["dtype"]]) for d in interpreter.get_input_details()]
        for index, values in self._inputs:
            interpreter.resize_tensor_input(index, values.shape)
        interpreter.allocate_tensors()
        self._output = interpreter.get_output_details()[0]["index"]

    def answer(self, numbers: NDArray[np.float32], codes: NDArray[np.int32], rows: int) -> list[Any]:
        self._numbers[:, :rows] = numbers
        self._codes[:, :rows] = codes
        for index, values in self._inputs:
            self._interpreter.set_tensor(index, values)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)[:rows].tolist()


class _Codes(dict[str | None, int]):
    """A category's rank by its text; all others are unknown, and noted until they are taken."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(zip(words, range(len(words)), strict=True))
        self[None] = self[""] = MISSING
        self.unknown: list[str] = []

    def __missing__(self, text: str) -> int:
        self.unknown.append(text)
        return UNKNOWN

    def take_unknown(self) -> list[str]:
        """The texts that were unknown since the last time."""
        taken, self.unknown = self.unknown, []
        return taken


class _HashedCodes(_Codes):
    """As `_Codes`, with a number of its own for each unknown category, as the SavedModel's graph hashes it."""

    def __missing__(self, text: str) -> int:
        from farmhash import Fingerprint64  # pyright: ignore[reportAttributeAccessIssue]

        return super().__missing__(text) - Fingerprint64(text.encode()) % HASHES


def _codes(words: Sequence[str], hashed: bool) -> _Codes:
    return (_HashedCodes if hashed else _Codes)(words)
