"""A training column as the thing to compare with: its cells, its moments, its words.

Cells are cut from the training rows once, so that every window is counted over the same ones.
"""

from collections.abc import Sequence

import numpy as np

from penstock_trainer.statistics import CategoryStatistics, ColumnStatistics, NumberStatistics

DECILES = [tenth / 10 for tenth in range(1, 10)]
ATOM = 0.02
"""A value that holds more than this share of the training rows has a cell of its own."""
TOP = 50
"""Categories with a cell of their own; the others share one."""
GRID = 1000
LONGEST = 128
"""Characters of a category that are kept; longer ones are cut, here and in what is observed."""


class TrainedNumber:
    """A numeric column of the training rows."""

    def __init__(self, column: NumberStatistics) -> None:
        self.column = column
        self.edges = _edges(column)
        self.counts = self.cells(column)
        self.deviation = column.variance**0.5
        self.skewness, self.kurtosis = _shape(column)

    def cells(self, column: NumberStatistics) -> np.ndarray:
        """float64 of shape [cells]: how many of a column's values are in each cell."""
        return counts_between(column, self.edges)


class TrainedCategory:
    """A category column of the training rows."""

    def __init__(self, column: CategoryStatistics) -> None:
        self.column = column
        self.words = {cut(word): count for word, count in column.categories.items()}
        self.top = [cut(word) for word in column.ranked()[:TOP]]
        once = sum(count == 1 for count in self.words.values())
        # Good and Turing: the chance that the next row's category is a new one is the share of those seen once.
        self.new = (once + column.pruned) / column.count if column.count else 0.0
        self.counts = self.cells(column)
        expected = min(self.counts[-2], self.new * column.count)
        self.counts[-2:] += (-expected, expected)

    def cells(self, column: CategoryStatistics) -> np.ndarray:
        """float64 of shape [cells]: the top categories one by one, the other known ones, the unknown ones."""
        top = [column.categories[word] for word in self.top]
        unknown = self.unseen(column)
        return np.array([*top, column.count - sum(top) - unknown, unknown], np.float64)

    def unseen(self, column: CategoryStatistics) -> int:
        """How many rows have a category that no training row had.

        Those that the window let go are taken to be unseen as often as the categories that it kept.
        """
        unknown = [count for word, count in column.categories.items() if word not in self.words]
        share = len(unknown) / len(column.categories) if unknown else 0.0
        return sum(unknown) + round(column.pruned * share)


TrainedColumn = TrainedNumber | TrainedCategory


def trained(column: ColumnStatistics) -> TrainedColumn:
    """The column, a number or category, made ready to compare with."""
    assert isinstance(column, NumberStatistics | CategoryStatistics)
    return TrainedNumber(column) if isinstance(column, NumberStatistics) else TrainedCategory(column)


def cut(word: str) -> str:
    """A category as it is counted."""
    return word if len(word) <= LONGEST else word[:LONGEST]


def counts_between(column: NumberStatistics, edges: Sequence[float]) -> np.ndarray:
    """float64 of shape [len(edges) + 1]: values up to the first edge, up to the second, ..., above the last."""
    if not column.count or not edges:
        return np.array([float(column.count)] + [0.0] * len(edges))
    below = np.array([0.0, *column.quantiles.get_cdf(edges, True)])
    return np.maximum(np.diff(below), 0.0) * column.count


def _edges(column: NumberStatistics) -> list[float]:
    """The training deciles, ascending in float32; where a value is frequent also the number just below it."""
    if not column.count:
        return []
    edges: set[float] = set()
    for edge in column.quantiles.get_quantiles(DECILES):
        below = float(np.nextafter(np.float32(edge), np.float32(-np.inf)))
        edges.add(float(edge))
        if column.quantiles.get_rank(edge, True) - column.quantiles.get_rank(edge, False) > ATOM:
            edges.add(below)
    return sorted(edges)


def _shape(column: NumberStatistics) -> tuple[float, float]:
    """Skewness and kurtosis (3 for a normal distribution) by the sketch's quantiles.

    The grid does not reach into the tails. What variance it lacks is taken to sit at the farthest value, which makes
    both rather too large than too small.
    """
    variance = column.variance
    if variance <= 0.0 or column.min is None or column.max is None:
        return 0.0, 1.0
    ranks = (np.arange(GRID) + 0.5) / GRID
    away = np.array(column.quantiles.get_quantiles(ranks.tolist()), np.float64) - column.mean
    lacking = max(0.0, variance - float((away**2).mean()))
    farthest = max(column.min - column.mean, column.max - column.mean, key=abs)
    third = float((away**3).mean()) + lacking * farthest
    fourth = float((away**4).mean()) + lacking * farthest**2
    return third / variance**1.5, max(1.0, fourth / variance**2)
