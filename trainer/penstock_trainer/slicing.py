"""Slices: the groups that a column cuts the rows into, so that a model is measured on each."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from penstock_trainer.examples import MISSING
from penstock_trainer.statistics import CategoryStatistics, ColumnStatistics, NumberStatistics

NAMED = 40  # categories, the most frequent of the training rows; or whole numbers, from smallest to largest
CUTS = 10
OTHERS, ABSENT = "others", "missing"


class Slicer:
    """Names the slice of each row by one column: a category, a whole number of few values, or a range of numbers that
    holds about a tenth of the training rows.

    `column`: of the training rows; `whole`: the smallest and the largest value in any split of a column that holds
    whole numbers only. Under a split by time, a test row's month is in no training row.
    """

    def __init__(self, column: ColumnStatistics, whole: tuple[float, float] | None):
        if isinstance(column, CategoryStatistics):
            self.names = column.ranked()[:NAMED]
            self.place = lambda codes: np.where(codes == MISSING, -1, np.where(codes >= 0, codes, len(self.names)))
        elif whole is not None and whole[1] - whole[0] < NAMED:
            low = int(whole[0])
            self.names = [str(value) for value in range(low, int(whole[1]) + 1)]
            self.place = lambda values: _places(values, values - low, len(self.names))
        else:
            assert isinstance(column, NumberStatistics)
            edges = column.boundaries(CUTS)
            words = [f"{edge:,.4g}" for edge in edges]
            middle = [f"{low} to {high}" for low, high in pairwise(words)]
            self.names = [f"below {words[0]}", *middle, f"{words[-1]} and above"] if words else ["all"]
            self.place = lambda values: _places(values, np.digitize(values, edges), len(self.names))

    def rows(self, values: np.ndarray) -> Mapping[str, np.ndarray]:
        """The rows of each slice that has any, as a mask; `values` are a block's numbers or codes, [rows]."""
        places = np.minimum(self.place(values), len(self.names)).astype(np.int64)
        names = [ABSENT, *self.names, OTHERS]
        return {names[place + 1]: places == place for place in np.unique(places)}

    def order(self, found: Mapping[str, object]) -> list[str]:
        """The slices found, in the column's own order."""
        return [name for name in (*self.names, OTHERS, ABSENT) if name in found]


def _places(values: np.ndarray, places: np.ndarray, others: int) -> np.ndarray:
    missing = np.isnan(values)
    known = np.where(missing, 0, places)
    return np.where(missing, -1, np.where((known < 0) | (known != np.floor(known)), others, known))
