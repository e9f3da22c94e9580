"""One window against the training rows: every measure of every column, beside the threshold that it has to pass."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from penstock_serving.skew import distances
from penstock_serving.skew.noise import NoiseFloor
from penstock_serving.skew.simulating import Draw, Simulated
from penstock_serving.skew.training import TOP, TrainedCategory, TrainedNumber, trained
from penstock_trainer.statistics import CategoryStatistics, ColumnStatistics, NumberStatistics

MATTERS: Mapping[str, float] = {
    "mean_shift": 0.25,
    "variance_ratio": 1.5,
    "missing": 0.05,
    "refused": 0.05,
    "unseen": 0.01,
    "psi": 0.2,
    "jensen_shannon": 0.1,
    "l_infinity": 0.1,
}
"""From where on a difference is worth a person's attention, however many rows prove that it is there."""
FARTHEST = 10.0
"""Thresholds from where on all variances are equally far: one that fell to 0 must leave room for what else moved."""


@dataclass(frozen=True)
class Rules:
    """When a difference is skew."""

    minimum_rows: int = 200
    """Rows that a comparison takes; smaller windows wait for the next ones."""
    windows_in_a_row: int = 2
    """So many windows one after the other have to say so."""
    chance: float = 0.001
    """Probability with which one measure of one unchanged window passes its noise floor."""
    ignored: frozenset[str] = field(default_factory=frozenset[str])
    """Columns that are compared and shown but alert nobody, as a month, which never looks like the whole year."""


@dataclass(frozen=True, slots=True)
class Measure:
    """`value`, and the `threshold` that it has to pass: what matters, or the noise floor where that is higher."""

    value: float
    threshold: float

    @property
    def size(self) -> float:
        """The value without its direction, as the threshold is stated."""
        return abs(self.value)

    @property
    def excess(self) -> float:
        """The value as a multiple of its threshold."""
        return self.size / self.threshold

    @property
    def exceeded(self) -> bool:
        """Whether the threshold is passed."""
        return self.size > self.threshold


@dataclass(frozen=True, slots=True)
class VarianceRatio(Measure):
    """A factor: 3 and 1/3 are equally far from 1."""

    @property
    def size(self) -> float:
        """The ratio, turned upward."""
        return max(self.value, 1 / self.value) if self.value > 0 else math.inf

    @property
    def excess(self) -> float:
        """How often the threshold, which is a factor too, is a factor of it; `FARTHEST` at most."""
        return min(math.log(self.size) / math.log(self.threshold), FARTHEST)


def refused(rows: int, of: int) -> Measure:
    """The share of the rows received that got no answer; of training rows, which all fitted, none would have."""
    return Measure(rows / of, MATTERS["refused"])


class ColumnComparison:
    """Compares windows of one column with its training rows."""

    def __init__(self, name: str, column: ColumnStatistics, rules: Rules, simulated: Simulated) -> None:
        """`simulated`: see `NoiseFloor`."""
        self.name = name
        self.trained = trained(column)
        self._floor = NoiseFloor(name, self.trained, rules.chance, simulated)

    def unknown(self, found: ColumnStatistics) -> dict[str, Draw]:
        """What has to be simulated before `found` can be measured, if it is not to be done there."""
        return self._floor.unknown(found.count)

    def measures(self, found: ColumnStatistics) -> dict[str, Measure]:
        """By name; those that need values are left out where a side has none.

        Raises:
            TypeError: the window's column is not of the training column's type.
        """
        training = self.trained.column
        if type(found) is not type(training):
            raise TypeError(f"column {self.name!r} was observed as {type(found).__name__}")
        rows = found.count + found.missing
        values = {"missing": _missing_share(found) - _missing_share(training)}
        if found.count and training.count:
            if isinstance(self.trained, TrainedNumber):
                assert isinstance(found, NumberStatistics)
                values |= _of_numbers(self.trained, found)
            else:
                assert isinstance(found, CategoryStatistics)
                values |= _of_categories(self.trained, found)
        floors = self._floor.of(rows, found.count)
        made: dict[str, Measure] = {}
        for name, value in values.items():
            kind = VarianceRatio if name == "variance_ratio" else Measure
            made[name] = kind(value, max(MATTERS[name], floors[name]))
        return made


def _of_numbers(trained: TrainedNumber, found: NumberStatistics) -> dict[str, float]:
    cells = trained.cells(found)
    values = {
        "psi": float(distances.psi(trained.counts, cells)),
        "jensen_shannon": float(distances.jensen_shannon(trained.counts, cells)),
    }
    if trained.deviation > 0:  # else any change at all is told by the cells, of which the one value is one
        values["mean_shift"] = (found.mean - trained.column.mean) / trained.deviation
        values["variance_ratio"] = found.variance / trained.column.variance
    return values


def _of_categories(trained: TrainedCategory, found: CategoryStatistics) -> dict[str, float]:
    cells = trained.cells(found)
    values = {
        "psi": float(distances.psi(trained.counts, cells)),
        "jensen_shannon": float(distances.jensen_shannon(trained.counts, cells)),
        "l_infinity": abs(largest_move(trained, found)[1]),
    }
    if not trained.column.pruned:
        values["unseen"] = float(cells[-1] / found.count)
    return values


def largest_move(trained: TrainedCategory, found: CategoryStatistics) -> tuple[str, float]:
    """The category whose share changed most, and by how much; of the most frequent ones on either side."""
    words = dict.fromkeys([*trained.top, *(word for word, _ in found.categories.most_common(TOP))])
    before = np.array([trained.words.get(word, 0) for word in words]) / trained.column.count
    after = np.array([found.categories[word] for word in words]) / found.count
    place = int(np.abs(after - before).argmax())
    return list(words)[place], float(after[place] - before[place])


def _missing_share(column: ColumnStatistics) -> float:
    rows = column.count + column.missing
    return column.missing / rows if rows else 0.0
