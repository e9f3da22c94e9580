"""What one version did, as counts that add up over requests and over processes. Standard library only."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

BUCKETS = 128
"""Latencies from a microsecond to an hour, each bucket a quarter of a doubling wide."""


@dataclass
class Tally:
    """Requests by outcome, their latencies, and the sums of the predictions: enough for every gate of a rollout."""

    answers: int = 0
    """Requests answered with predictions."""
    refused: int = 0
    """Requests answered with 4xx."""
    failed: int = 0
    """Requests answered with 5xx."""
    latencies: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    numberless: int = 0
    """Of the answers, those with a prediction that is no finite number."""
    rows: int = 0
    """Finite predictions."""
    total: float = 0.0
    squares: float = 0.0

    def answered(self, status: int, seconds: float, predictions: Sequence[float] | None) -> None:
        """Count one request."""
        if status >= 500:
            self.failed += 1
        elif predictions is None:
            self.refused += 1
        else:
            self.answers += 1
            self.latencies[min(BUCKETS - 1, max(0, int(4 * math.log2(max(seconds, 1e-6) * 1e6))))] += 1
            before = self.rows
            self.scored(predictions)
            self.numberless += self.rows - before < len(predictions)

    def scored(self, predictions: Iterable[float]) -> None:
        """Count predictions alone."""
        for prediction in predictions:
            if math.isfinite(prediction):
                self.rows += 1
                self.total += prediction
                self.squares += prediction * prediction

    @property
    def requests(self) -> int:
        """All requests, whatever became of them."""
        return self.answers + self.refused + self.failed

    @property
    def bad_share(self) -> float:
        """The share of requests that got no prediction, or one that is no number."""
        return (self.refused + self.failed + self.numberless) / self.requests if self.requests else 0.0

    @property
    def mean(self) -> float:
        """The mean prediction."""
        return self.total / self.rows if self.rows else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation of the predictions."""
        return math.sqrt(max(0.0, self.squares / self.rows - self.mean**2)) if self.rows else 0.0

    def quantile(self, share: float) -> float:
        """The latency in seconds that `share` of the answers did not exceed: the upper edge of its bucket."""
        left = share * self.answers
        for bucket, count in enumerate(self.latencies):
            left -= count
            if count and left <= 0:
                return _edge(bucket)
        return 0.0

    def share_beyond(self, seconds: float) -> float:
        """The share of the answers that took longer, by the upper edges of their buckets."""
        beyond = sum(count for bucket, count in enumerate(self.latencies) if _edge(bucket) > seconds)
        return beyond / self.answers if self.answers else 0.0

    def add(self, other: "Tally", sign: int = 1) -> None:
        """Add another's counts to these, or take them away."""
        for name in ("answers", "refused", "failed", "numberless", "rows", "total", "squares"):
            setattr(self, name, getattr(self, name) + sign * getattr(other, name))
        self.latencies = [mine + sign * its for mine, its in zip(self.latencies, other.latencies, strict=True)]

    def as_json(self) -> dict[str, Any]:
        """The counts, as `of` reads them."""
        return asdict(self)

    @classmethod
    def of(cls, counts: Mapping[str, Any]) -> "Tally":
        """The tally that `as_json` wrote."""
        return cls(**{**counts, "latencies": list(counts["latencies"])})


def _edge(bucket: int) -> float:
    """The longest latency in a bucket, in seconds."""
    return 2 ** ((bucket + 1) / 4) / 1e6
