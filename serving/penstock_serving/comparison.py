"""How a shadow's answers differ from those that clients got: counts that add up. Standard library only."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from penstock_serving.tally import Tally


@dataclass
class Comparison:
    """Of one version in the shadow with whichever version answered."""

    version: str
    skipped: int = 0
    """Requests that were not compared: too many waited."""
    answered: Tally = field(default_factory=Tally)
    """The shadow's."""
    asked: Tally = field(default_factory=Tally)
    """Of the version that answered, to the same rows."""
    differences: float = 0.0
    """Sum of the absolute differences, row by row."""
    largest: float = 0.0

    def compare(self, seconds: float, mine: Sequence[float], its: Sequence[float]) -> None:
        """One request that both have answered."""
        self.answered.answered(200, seconds, mine)
        self.asked.scored(its)
        for difference in (abs(m - i) for m, i in zip(mine, its, strict=True)):
            if math.isfinite(difference):
                self.differences += difference
                self.largest = max(self.largest, difference)

    def add(self, other: "Comparison", sign: int = 1) -> None:
        """Add another's counts to these, or take them away."""
        self.skipped += sign * other.skipped
        self.differences += sign * other.differences
        self.largest = max(self.largest, other.largest)
        self.answered.add(other.answered, sign)
        self.asked.add(other.asked, sign)

    def summary(self) -> dict[str, Any]:
        """For people."""
        return {
            "version": self.version,
            "compared": self.answered.requests,
            "skipped": self.skipped,
            "failed": self.answered.failed,
            "mean_difference": self.answered.mean - self.asked.mean,
            "mean_absolute_difference": self.differences / max(1, self.asked.rows),
            "largest_difference": self.largest,
        }

    def as_json(self) -> dict[str, Any]:
        """The counts, as `of` reads them."""
        return asdict(self)

    @classmethod
    def of(cls, counts: Mapping[str, Any]) -> "Comparison":
        """The comparison that `as_json` wrote."""
        return cls(**{**counts, "answered": Tally.of(counts["answered"]), "asked": Tally.of(counts["asked"])})
