"""Mergeable statistics of a column: one pass over all rows yields them, and every later stage lives off them.

Merging is associative: however the rows were split over machines, the counts, means and variances are those of the
whole. Part of the light core: numpy and datasketches.
"""

# pyright: reportAttributeAccessIssue=false
# (datasketches has no type stubs.)

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from datasketches import hll_sketch, hll_union, kll_floats_sketch

from penstock_trainer import distinct, kll
from penstock_trainer.errors import InputError
from penstock_trainer.labelled import Comoment, GroupMeans

HLL_LG_K = 12  # distinct counts within about 1.6 %
MAX_CATEGORIES = 100_000
OF_CLASS = "class "
FORMAT = 1


@dataclass
class NumberStatistics:
    """Of a numeric column: `count` values that are there, `missing` that are not, Welford's mean and M2, a KLL sketch,
    and hashes of `different` values, None where those are not counted.
    """

    count: int = 0
    missing: int = 0
    mean: float = 0.0
    m2: float = 0.0
    min: float | None = None
    max: float | None = None
    quantiles: kll_floats_sketch = field(default_factory=kll.empty)
    different: distinct.Hashes | None = None

    @classmethod
    def of(cls, values: np.ndarray, *, count_distinct: bool = False) -> "NumberStatistics":
        """Of one batch: float32, shape [rows], NaN where missing."""
        # NaN is put last.
        present = np.sort(values)
        present = present[: present.searchsorted(np.nan)]
        if not present.size:
            return cls(missing=int(values.size))
        wide = present.astype(np.float64)
        mean = float(wide.mean())
        wide -= mean
        return cls(
            count=int(present.size),
            missing=int(values.size - present.size),
            mean=mean,
            m2=float(np.square(wide, out=wide).sum()),
            min=float(present[0]),
            max=float(present[-1]),
            quantiles=kll.of_sorted(present),
            different=distinct.of_sorted(present) if count_distinct else None,
        )

    def merge(self, other: "NumberStatistics") -> "NumberStatistics":
        """Of the rows of both (Chan's parallel formula); `self` takes the sketch of `other` in and is returned."""
        count = self.count + other.count
        if other.count:
            delta = other.mean - self.mean
            self.mean += delta * other.count / count
            self.m2 += other.m2 + delta * delta * self.count * other.count / count
            self.min = min(value for value in (self.min, other.min) if value is not None)
            self.max = max(value for value in (self.max, other.max) if value is not None)
            self.quantiles.merge(other.quantiles)
            if not self.count:
                self.different = other.different
            elif self.different is None or other.different is None:
                self.different = None
            else:
                self.different = distinct.merged(self.different, other.different)
        self.count = count
        self.missing += other.missing
        return self

    @property
    def variance(self) -> float:
        """Of the population, in the column's unit squared; 0 without values."""
        return self.m2 / self.count if self.count else 0.0

    @property
    def distinct(self) -> int | None:
        """How many different values occur, about; exact where there are few; None where they were not counted."""
        if not self.count:
            return 0
        return None if self.different is None else distinct.count(self.different)

    def boundaries(self, buckets: int) -> list[float]:
        """The at most `buckets - 1` distinct inner edges that cut the values into buckets of about equal size."""
        if not self.count or buckets < 2:
            return []
        edges = self.quantiles.get_quantiles([i / buckets for i in range(1, buckets)])
        return sorted({float(edge) for edge in edges})

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` of this and later releases reads."""
        return {
            "type": "number",
            "count": self.count,
            "missing": self.missing,
            "mean": self.mean,
            "m2": self.m2,
            "min": self.min,
            "max": self.max,
            "kll": base64.b64encode(self.quantiles.serialize()).decode(),
            **self._distinct_to_json(),
        }

    def _distinct_to_json(self) -> dict[str, Any]:
        if self.different is None:
            return {}
        hashes = base64.b64encode(self.different.astype("<u4").tobytes()).decode()
        return {"distinct": self.distinct, "smallest_hashes": hashes}

    def __reduce__(self) -> tuple[Any, ...]:
        """Sketches do not pickle by themselves; Beam moves statistics between processes."""
        return type(self).from_json, (self.to_json(),)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "NumberStatistics":
        """What `to_json` wrote."""
        sketch = kll_floats_sketch.deserialize(base64.b64decode(value["kll"]))
        fields = {name: value[name] for name in ("count", "missing", "mean", "m2", "min", "max")}
        hashes = value.get("smallest_hashes")  # absent where an earlier release wrote it
        different = None if hashes is None else np.frombuffer(base64.b64decode(hashes), "<u4").astype(np.uint32)
        return cls(**fields, quantiles=sketch, different=different)


@dataclass
class CategoryStatistics:
    """Of a category column: `count` rows with a value, `missing` without, and the count of each category kept.

    At most `MAX_CATEGORIES` are kept, the most frequent so far; `pruned` rows belong to categories that were let go,
    and `sketch` has seen those. A category's count is exact where none was let go; else up to `undercount` of its rows
    may be among the pruned ones, and one that is not kept has no more rows than that.
    """

    count: int = 0
    missing: int = 0
    pruned: int = 0
    categories: Counter[str] = field(default_factory=Counter)
    sketch: hll_sketch = field(default_factory=lambda: hll_sketch(HLL_LG_K))
    undercount: int = 0

    @classmethod
    def of(cls, categories: Iterable[str], counts: Iterable[int], missing: int) -> "CategoryStatistics":
        """Of one batch: its distinct categories, how often each occurs, and how many rows have none."""
        found: Counter[str] = Counter()
        for category, count in zip(categories, counts, strict=True):
            found[category] += int(count)
        statistics = cls(found.total(), missing, categories=found)
        statistics.bound()
        return statistics

    def merge(self, other: "CategoryStatistics") -> "CategoryStatistics":
        """Of the rows of both; `self` takes `other` in and is returned."""
        self.count += other.count
        self.missing += other.missing
        self.pruned += other.pruned
        self.undercount += other.undercount
        self.categories.update(other.categories)
        if not other.sketch.is_empty():
            union = hll_union(HLL_LG_K)
            union.update(self.sketch)
            union.update(other.sketch)
            self.sketch = union.get_result()
        self.bound()
        return self

    @property
    def distinct(self) -> int:
        """How many categories occur: exact where none was let go, else estimated."""
        return round(self._every().get_estimate()) if self.pruned else len(self.categories)

    def ranked(self) -> list[str]:
        """The categories kept, the most frequent first; ties by name. A category's place here is its code."""
        return sorted(sorted(self.categories), key=self.categories.__getitem__, reverse=True)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` of this and later releases reads."""
        return {
            "type": "category",
            "count": self.count,
            "missing": self.missing,
            "pruned": self.pruned,
            "undercount": self.undercount,
            "distinct": self.distinct,
            "categories": {category: self.categories[category] for category in self.ranked()},
            "hll": base64.b64encode(self._every().serialize_compact()).decode(),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """Sketches do not pickle by themselves; Beam moves statistics between processes, many times: as they are, not
        ranked as in JSON.
        """
        fields = (self.count, self.missing, self.pruned, dict(self.categories))
        return type(self)._unpickled, (*fields, self.sketch.serialize_compact(), self.undercount)

    @classmethod
    def _unpickled(
        cls, count: int, missing: int, pruned: int, categories: dict[str, int], sketch: bytes, undercount: int
    ) -> "CategoryStatistics":
        return cls(count, missing, pruned, Counter(categories), hll_sketch.deserialize(sketch), undercount)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "CategoryStatistics":
        """What `to_json` wrote."""
        sketch = hll_sketch.deserialize(base64.b64decode(value["hll"]))
        categories = Counter(value["categories"])
        undercount = value.get("undercount", value["pruned"])  # absent where an earlier release wrote it
        return cls(value["count"], value["missing"], value["pruned"], categories, sketch, undercount)

    def _every(self) -> hll_sketch:
        """A sketch of all categories, those kept included."""
        every = hll_sketch.deserialize(self.sketch.serialize_compact())
        for category in self.categories:
            every.update(category)
        return every

    def bound(self, most: int | None = None) -> None:
        """Where more than `most` categories (`MAX_CATEGORIES`) are kept, the rarest go until half as many are left."""
        most = MAX_CATEGORIES if most is None else most
        if len(self.categories) > most:
            ranked = self.ranked()
            kept, let_go = ranked[: most // 2], ranked[most // 2 :]
            for category in let_go:
                self.sketch.update(category)
            self.undercount += self.categories[let_go[0]]
            before = self.categories.total()
            self.categories = Counter({category: self.categories[category] for category in kept})
            self.pruned += before - self.categories.total()


@dataclass
class TextStatistics:
    """Of a text column: `count` rows with a token, `missing` without, and how often each token occurs."""

    count: int = 0
    missing: int = 0
    tokens: CategoryStatistics = field(default_factory=CategoryStatistics)

    def merge(self, other: "TextStatistics") -> "TextStatistics":
        """Of the rows of both; `self` takes `other` in and is returned."""
        self.count += other.count
        self.missing += other.missing
        self.tokens.merge(other.tokens)
        return self

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` of this and later releases reads."""
        return {"type": "text", "count": self.count, "missing": self.missing, "tokens": self.tokens.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TextStatistics":
        """What `to_json` wrote."""
        return cls(value["count"], value["missing"], CategoryStatistics.from_json(value["tokens"]))


ColumnStatistics: TypeAlias = NumberStatistics | CategoryStatistics | TextStatistics
Statistics: TypeAlias = dict[str, ColumnStatistics]


def categories(column: ColumnStatistics) -> CategoryStatistics:
    """The statistics of a category column's words, or of a text's tokens."""
    found = column.tokens if isinstance(column, TextStatistics) else column
    assert isinstance(found, CategoryStatistics)
    return found


def merge(left: Statistics, right: Statistics) -> Statistics:
    """Column by column, of the rows of both; `left` may be taken over."""
    for name, column in right.items():
        left[name] = left[name].merge(column) if name in left else column  # pyright: ignore[reportArgumentType]
    return left


def to_json(statistics: Mapping[str, ColumnStatistics]) -> dict[str, Any]:
    """A versioned JSON object of all columns."""
    return {"format": FORMAT, "columns": {name: column.to_json() for name, column in statistics.items()}}


def from_json(value: Mapping[str, Any]) -> Statistics:
    """What `to_json` wrote.

    Raises:
        InputError: it was written by a newer release.
    """
    if value["format"] > FORMAT:
        raise InputError(f"statistics have format {value['format']}; this release reads up to {FORMAT}")
    types = {
        "number": NumberStatistics,
        "category": CategoryStatistics,
        "text": TextStatistics,
        "comoment": Comoment,
        "groups": GroupMeans,
    }
    return {name: types[column["type"]].from_json(column) for name, column in value["columns"].items()}


def read_statistics(dataset: Path) -> dict[str, Statistics]:
    """A dataset's statistics: by split; and of the training rows `positive`, those whose binary label is 1; `class 0`
    and so on, those of each class; `with_label`, each number's and category's together with a regression's label.
    """
    found = json.loads((dataset / "statistics.json").read_text())
    return {split: from_json(columns) for split, columns in found.items()}
