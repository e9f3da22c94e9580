"""A trained network on every validation and test row, whole and by slice, in one pass over the blocks."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from penstock_trainer.dataset import Dataset
from penstock_trainer.examples import read_block
from penstock_trainer.problem import Integer, Problem
from penstock_trainer.slicing import Slicer
from penstock_trainer.statistics import NumberStatistics
from penstock_trainer.tallies import FINE, BinaryTally, MulticlassTally, RegressionTally, Tally

SPLITS = ("validation", "test")
Answer: TypeAlias = Callable[[Path], tuple[np.ndarray, np.ndarray]]
"""From a block's path to its labels, of shape [rows], and the network's predictions, as it predicts them."""


class Predictions:
    """The trained network's predictions of a split, on their way to a tally: kept in a file, however many there are, to
    be read again in the same order.
    """

    def __init__(self, file: Path):
        self.file = file
        self.largest = 0.0
        """The largest magnitude among them."""
        self._each: tuple[int, ...] = ()

    def kept(self, blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """`blocks` of (labels, predictions), whose predictions are written down."""
        with self.file.open("wb") as file:
            for labels, found in blocks:
                file.write(found.astype("<f4").tobytes())
                self._each = found.shape[1:]
                self.largest = max(self.largest, float(np.abs(found).max(initial=0.0)))
                yield labels, found

    def again(self, rows: Iterable[int]) -> Iterator[np.ndarray]:
        """So many of them at a time, from the first on."""
        with self.file.open("rb") as file:
            for count in rows:
                yield np.fromfile(file, "<f4", count * math.prod(self._each)).reshape(count, *self._each)


def tally(problem: Problem, label: NumberStatistics, *, whole: bool = False) -> Tally:
    """What the rows of a split, or of one of its slices, are counted by; `label` has the training rows' labels.

    Thresholds of the confusion are 0.5 and the share of positive training rows.
    """
    if problem.label.head == "regression":
        return RegressionTally(label)
    if problem.label.head == "multiclass":
        return MulticlassTally(problem.label.classes)
    thresholds = sorted({0.5, round(label.mean, 4)}, reverse=True)
    return BinaryTally(thresholds, FINE) if whole else BinaryTally()


def evaluate(problem: Problem, dataset: Dataset, answer: Answer) -> dict[str, Any]:
    """By split: `metrics`, `plots`, and `slices`: by column and slice, its metrics."""
    label = dataset.statistics[problem.label.name]
    assert isinstance(label, NumberStatistics)
    slicers = {name: Slicer(dataset.statistics[name], _whole(problem, dataset, name)) for name in problem.slices}
    return {split: _evaluate(problem, dataset, split, answer, slicers, label) for split in SPLITS}


def _evaluate(
    problem: Problem,
    dataset: Dataset,
    split: str,
    answer: Answer,
    slicers: Mapping[str, Slicer],
    label: NumberStatistics,
) -> dict[str, Any]:
    every = tally(problem, label, whole=True)
    slices: dict[str, dict[str, Tally]] = {name: {} for name in slicers}
    for block in dataset.examples.blocks[split]:
        path = dataset.path / block.path
        labels, predictions = answer(path)
        every.add(labels, predictions)
        numbers, codes, _ = read_block(path, dataset.examples)
        columns = dict(zip(dataset.examples.numbers, numbers, strict=True))
        columns |= dict(zip(dataset.examples.categories, codes, strict=False))  # after them, cells of texts and images
        for name, slicer in slicers.items():
            for slice_, rows in slicer.rows(columns[name]).items():
                slices[name].setdefault(slice_, tally(problem, label)).add(labels[rows], predictions[rows])
    found = {
        name: {slice_: slices[name][slice_].metrics() for slice_ in slicer.order(slices[name])}
        for name, slicer in slicers.items()
    }
    return {"metrics": every.metrics(), "plots": every.plots(), "slices": found}


def _whole(problem: Problem, dataset: Dataset, name: str) -> tuple[float, float] | None:
    """The smallest and the largest value of a column of whole numbers in any split; None of another column."""
    if not isinstance({**problem.inputs, **problem.derived}[name], Integer):
        return None
    found = [dataset.statistics[name], *(dataset.split_statistics(split)[name] for split in SPLITS)]
    ends = [(each.min, each.max) for each in found if isinstance(each, NumberStatistics)]
    lows, highs = [low for low, _ in ends if low is not None], [high for _, high in ends if high is not None]
    return (min(lows), max(highs)) if lows and highs else None
