"""What a column has to do with a regression's label: mergeable like all statistics, however the rows were split.

Part of the light core: numpy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

MAX_GROUPS = 1000


@dataclass
class Comoment:
    """Of two numeric columns, over the `count` rows that have both: the means, and the sums of squares and products of
    the deviations from them.
    """

    count: int = 0
    mean_x: float = 0.0
    mean_y: float = 0.0
    m2_x: float = 0.0
    m2_y: float = 0.0
    product: float = 0.0

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> "Comoment":
        """Of one batch: float32, shape [rows], NaN where missing."""
        both = ~(np.isnan(x) | np.isnan(y))
        x, y = x[both].astype(np.float64), y[both].astype(np.float64)
        if not x.size:
            return cls()
        mean_x, mean_y = float(x.mean()), float(y.mean())
        x -= mean_x
        y -= mean_y
        sums = (float(values.sum()) for values in (np.square(x), np.square(y), x * y))
        return cls(int(x.size), mean_x, mean_y, *sums)

    def merge(self, other: "Comoment") -> "Comoment":
        """Of the rows of both, by Chan's parallel formula; `self` takes `other` in and is returned."""
        if not other.count:
            return self
        count = self.count + other.count
        x, y, weight = other.mean_x - self.mean_x, other.mean_y - self.mean_y, self.count * other.count / count
        self.m2_x += other.m2_x + x * x * weight
        self.m2_y += other.m2_y + y * y * weight
        self.product += other.product + x * y * weight
        self.mean_x += x * other.count / count
        self.mean_y += y * other.count / count
        self.count = count
        return self

    @property
    def correlation(self) -> float:
        """Pearson's, from -1 to 1; 0 where one of the columns has one value."""
        scale = (self.m2_x * self.m2_y) ** 0.5
        return max(-1.0, min(1.0, self.product / scale)) if scale else 0.0

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` of this and later releases reads."""
        return {"type": "comoment", **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Comoment":
        """What `to_json` wrote."""
        return cls(**{name: value[name] for name in asdict(cls())})


@dataclass
class GroupMeans:
    """Of a category column and a regression's label: for each category the rows, the label's mean, and the sum of
    squares of its deviations from that.

    At most `MAX_GROUPS` categories are kept, the most frequent so far; `pruned` rows belong to those let go.
    """

    groups: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    pruned: int = 0

    @classmethod
    def of(cls, words: Sequence[str], codes: np.ndarray, label: np.ndarray) -> "GroupMeans":
        """Of one batch: each row's category by its place in `words`, -1 where it has none, and its label."""
        there = codes >= 0
        codes, wide = codes[there], label[there].astype(np.float64)
        counts = np.bincount(codes, minlength=len(words))
        means = np.bincount(codes, wide, len(words)) / np.maximum(counts, 1)
        squares = np.bincount(codes, np.square(wide - means[codes]), len(words))
        kept = np.flatnonzero(counts)
        if kept.size > MAX_GROUPS:
            # None that has fewer rows than the last of those that stay; ties are `_bounded`'s to break.
            kept = kept[counts[kept] >= np.partition(counts[kept], -(MAX_GROUPS // 2))[-(MAX_GROUPS // 2)]]
        places: list[int] = kept.tolist()
        found = zip(places, counts[kept].tolist(), means[kept].tolist(), squares[kept].tolist(), strict=True)
        groups = {words[place]: (count, mean, square) for place, count, mean, square in found}
        return cls(groups, int(counts.sum() - counts[kept].sum()))._bounded()

    def merge(self, other: "GroupMeans") -> "GroupMeans":
        """Of the rows of both, by Chan's parallel formula; `self` takes `other` in and is returned."""
        for word, (count, mean, squares) in other.groups.items():
            own, own_mean, own_squares = self.groups.get(word, (0, 0.0, 0.0))
            delta, both = mean - own_mean, own + count
            between = delta * delta * own * count / both
            self.groups[word] = (both, own_mean + delta * count / both, own_squares + squares + between)
        self.pruned += other.pruned
        return self._bounded()

    def _bounded(self) -> "GroupMeans":
        """Where more than `MAX_GROUPS` are kept, the rarest go until half as many are left."""
        if len(self.groups) > MAX_GROUPS:
            ranked = sorted(self.groups, key=lambda word: (-self.groups[word][0], word))
            self.pruned += sum(self.groups.pop(word)[0] for word in ranked[MAX_GROUPS // 2 :])
        return self

    @property
    def correlation(self) -> float:
        """From 0 to 1: the root of the share of the label's variance that the category explains, less what as many
        categories would explain by chance.
        """
        rows, kinds = sum(count for count, _, _ in self.groups.values()), len(self.groups)
        if rows <= kinds:
            return 0.0
        centre = sum(count * mean for count, mean, _ in self.groups.values()) / rows
        within = sum(squares for _, _, squares in self.groups.values())
        whole = within + sum(count * (mean - centre) ** 2 for count, mean, _ in self.groups.values())
        return max(0.0, 1 - within / whole * (rows - 1) / (rows - kinds)) ** 0.5 if whole else 0.0

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` of this and later releases reads."""
        return {"type": "groups", **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "GroupMeans":
        """What `to_json` wrote."""
        groups = {word: (count, mean, squares) for word, (count, mean, squares) in value["groups"].items()}
        return cls(groups, value["pruned"])
