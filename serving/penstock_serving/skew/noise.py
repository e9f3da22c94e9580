"""The noise floor: what a window of so many rows shows by chance when nothing has changed.

Moments and shares have formulas; distances over cells are simulated. All floors are for windows of `rows` independent
rows from the training distribution.
"""

import math
import zlib
from statistics import NormalDist

from penstock_serving.skew.simulating import Draw, Simulated, simulate
from penstock_serving.skew.training import TrainedCategory, TrainedColumn, TrainedNumber

LARGEST = 2**16
"""Rows of the largest window that is simulated: by chance it shows a hundredth of what matters."""


class NoiseFloor:
    """Of one training column: the value that each measure exceeds with probability `chance` in an unchanged window."""

    def __init__(self, name: str, column: TrainedColumn, chance: float, simulated: Simulated) -> None:
        """`simulated`: of all columns of one training set; what has to be simulated here is added."""
        self._name = name
        self._column = column
        self._chance = chance
        self._z = NormalDist().inv_cdf(1 - chance / 2)
        self._seed = zlib.crc32(name.encode())
        self._simulated = simulated

    def of(self, rows: int, values: int) -> dict[str, float]:
        """By measure; of a window of `rows` rows, `values` of which have a value."""
        column = self._column
        floors = {"missing": self._share(column.column.missing, column.column.count + column.column.missing, rows)}
        if not values or not column.column.count:
            return floors
        if isinstance(column, TrainedNumber):
            floors |= self._moments(column, values)
        else:
            assert isinstance(column, TrainedCategory)
            floors["unseen"] = column.new + self._share(round(column.new * values), values, values)
        return floors | self._distances(values)

    def _share(self, hits: int, of: int, rows: int) -> float:
        """How far a share strays from `hits / of` (Bernstein's bound, which also holds for rare events)."""
        share = (hits + 1) / (of + 2)
        inverse = 1 / max(1, rows) + 1 / max(1, of)
        return self._z * math.sqrt(share * (1 - share) * inverse) + self._z**2 * inverse / 3

    def _moments(self, column: TrainedNumber, values: int) -> dict[str, float]:
        """The mean's shift in deviations (with Cornish and Fisher's term for skewness), the variance's factor."""
        inverse = 1 / values + 1 / column.column.count
        skewed = (self._z**2 - 1) * abs(column.skewness) / (6 * math.sqrt(values))
        spread = math.sqrt(max(0.0, column.kurtosis - 1) * inverse)
        return {
            "mean_shift": (self._z + skewed) * math.sqrt(inverse),
            "variance_ratio": math.exp(min(700.0, self._z * spread)),
        }

    def unknown(self, values: int) -> dict[str, Draw]:
        """What has to be simulated first for a window of `values` rows that have a value; found out by `of` else."""
        column = self._column
        if not values or not column.column.count or (key := self._key(values)) in self._simulated:
            return {}
        return {key: Draw(self._seed, column.counts.tolist(), column.column.count, _rows(values), self._chance)}

    def _distances(self, values: int) -> dict[str, float]:
        self._simulated.update(simulate(self.unknown(values)))
        return self._simulated[self._key(values)]

    def _key(self, values: int) -> str:
        return f"{self._name} {_rows(values)} {self._chance}"


def _rows(values: int) -> int:
    """The next lower power of the root of two: few sizes to simulate, and rather too high a floor."""
    return int(2 ** (math.floor(2 * math.log2(min(values, LARGEST))) / 2))
