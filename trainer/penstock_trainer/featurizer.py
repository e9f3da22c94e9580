"""Features in the graph: numbers and category codes to the network's inputs, cut from the training rows' statistics."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from penstock_trainer.examples import MISSING, UNKNOWN
from penstock_trainer.features import (
    Bucketized,
    Cyclic,
    Feature,
    Hashed,
    Missing,
    Pixels,
    Scaled,
    Tokens,
    Vocabulary,
    WithIds,
    parts,
)
from penstock_trainer.graph import Tensors, as_written, unknown_codes
from penstock_trainer.problem import Image, Problem, Text
from penstock_trainer.ranges import Hyperparameters, resolve
from penstock_trainer.statistics import CategoryStatistics, NumberStatistics, Statistics, categories

LARGEST_TABLE = 2**22  # pairs of a cross whose ids are looked up rather than computed
KNOWN = 2  # the first id of a bucket or category that is neither missing nor unknown


@dataclass(frozen=True)
class InputSpec:
    """One input of the network: float32 of shape [rows, width], or, where `ids` is set, int32 ids below it, [rows];
    where `tokens` is set too, [rows, tokens], whose id 0 stands for no token.
    """

    ids: int | None = None
    dimension: int = 1
    width: int = 1
    tokens: int | None = None


class Featurizer:
    """The problem's features, cut from the training rows' statistics with one set of hyperparameters."""

    def __init__(self, problem: Problem, statistics: Statistics, hyperparameters: Hyperparameters):
        self.features = list(problem.features)
        self.columns = {**problem.columns, **problem.derived}
        self.statistics = statistics
        self.hyperparameters = hyperparameters

    def specs(self) -> dict[str, InputSpec]:
        """The network's inputs, by feature name."""
        return {feature.name: self._spec(feature) for feature in self.features}

    @as_written
    def __call__(self, columns: Mapping[str, tf.Tensor]) -> Tensors:
        """Numbers (float32, NaN where missing) and category codes (int32), shape [rows], codes of tokens (int32) and
        pixels (uint8), shape [rows, several], to the network's inputs.
        """
        return {feature.name: self._apply(feature, columns) for feature in self.features}

    def hashes(self, column: str) -> bool:
        """Whether a feature tells the categories of `column` apart by a hash of their text."""
        return any(isinstance(part, Hashed) and part.column == column for part in self._parts())

    def words(self, column: str) -> list[str]:
        """The categories of `column` that some feature knows by rank, in order: all where one hashes them."""
        ranked = self._categories(column).ranked()
        sizes = [self._vocabulary_size(p) for p in self._parts() if isinstance(p, Vocabulary) and p.column == column]
        return ranked if self.hashes(column) else ranked[: max(sizes, default=0)]

    def _parts(self) -> list[Feature]:
        return [part for feature in self.features for part in parts(feature)]

    def _value(self, feature: Feature, field: str) -> Any:
        return resolve(getattr(feature, field), f"{feature.name}.{field}", self.hyperparameters)

    def _spec(self, feature: Feature) -> InputSpec:
        if isinstance(feature, Cyclic):
            return InputSpec(width=2)
        if isinstance(feature, Scaled | Missing):
            return InputSpec()
        column = self.columns.get(feature.column) if isinstance(feature, Pixels | Tokens) else None
        if isinstance(column, Image):
            return InputSpec(width=column.bytes)
        assert not isinstance(feature, Pixels)
        length = column.tokens if isinstance(column, Text) else None
        return InputSpec(self._ids(feature), self._value(feature, "dimension"), tokens=length)

    def _ids(self, feature: WithIds) -> int:
        """How many ids the feature has, those for the missing and the unknown included."""
        if isinstance(feature, Bucketized):
            return len(self._boundaries(feature)) + 1 + KNOWN
        if isinstance(feature, Vocabulary | Tokens):
            return self._vocabulary_size(feature) + KNOWN
        if isinstance(feature, Hashed):
            return self._value(feature, "buckets") + 1
        return min(self._value(feature, "buckets"), self._ids(feature.left) * self._ids(feature.right))

    def _boundaries(self, feature: Bucketized) -> list[float]:
        return list(feature.edges) or self._numbers(feature.column).boundaries(self._value(feature, "buckets"))

    def _vocabulary_size(self, feature: Vocabulary | Tokens) -> int:
        least = self._value(feature, "minimum_count")
        frequent = sum(count >= least for count in self._categories(feature.column).categories.values())
        return min(self._value(feature, "size"), frequent)

    def _categories(self, name: str) -> CategoryStatistics:
        return categories(self.statistics[name])

    def _numbers(self, name: str) -> NumberStatistics:
        column = self.statistics[name]
        assert isinstance(column, NumberStatistics)
        return column

    def _apply(self, feature: Feature, columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
        if isinstance(feature, Scaled):
            return self._scaled(feature, columns[feature.column])[:, tf.newaxis]
        if isinstance(feature, Cyclic):
            values = columns[feature.column]
            angle = tf.math.floormod(values, feature.period) * (2 * math.pi / feature.period)
            point = tf.stack([tf.sin(angle), tf.cos(angle)], axis=1)
            return tf.where(tf.math.is_nan(point), 0.0, point)
        if isinstance(feature, Missing):
            column = columns[feature.column]
            column = column[:, 0] if column.shape.rank == 2 else column  # a text's first token
            absent = tf.math.is_nan(column) if column.dtype.is_floating else column == MISSING
            return tf.cast(absent, tf.float32)[:, tf.newaxis]
        if isinstance(feature, Pixels):
            return tf.cast(columns[feature.column], tf.float32) / 255.0
        return self._id(feature, columns)

    def _scaled(self, feature: Scaled, values: tf.Tensor) -> tf.Tensor:
        statistics, by = self._numbers(feature.column), self._value(feature, "by")
        if not statistics.count or statistics.min == statistics.max:
            return tf.zeros_like(values)
        assert statistics.min is not None
        assert statistics.max is not None
        if by == "min_max":
            scaled = (values - statistics.min) / (statistics.max - statistics.min)
        elif by == "log":
            largest = max(abs(statistics.min), abs(statistics.max))
            scaled = tf.sign(values) * tf.math.log1p(tf.abs(values)) / math.log1p(largest)
        else:
            # Where the mean is large beside the deviation, its float32 alone is off by 1e-5 deviations.
            centre, deviation = float(np.float32(statistics.mean)), statistics.variance**0.5
            scaled = (values - centre) / deviation - (statistics.mean - centre) / deviation
        return tf.where(tf.math.is_nan(values), tf.zeros_like(scaled), scaled)

    def _id(self, feature: WithIds, columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """int32 ids; 0 is missing, then, of all but a hash, 1 is unknown, then buckets in order or ranks."""
        if isinstance(feature, Bucketized):
            values = columns[feature.column]
            present = tf.where(tf.math.is_nan(values), 0.0, values)
            bucket = tf.raw_ops.Bucketize(input=present, boundaries=self._boundaries(feature))
            return tf.where(tf.math.is_nan(values), 0, bucket + KNOWN)
        if isinstance(feature, Vocabulary | Tokens):
            code = columns[feature.column]
            known = tf.where((code >= 0) & (code < self._vocabulary_size(feature)), code + KNOWN, 1)
            return tf.where(code == MISSING, 0, known)
        if isinstance(feature, Hashed):
            code = columns[feature.column]
            # One more at the end, so that there is something to gather where no training row has a category.
            words = [*self._categories(feature.column).ranked(), ""]
            with tf.init_scope():  # once: the graph holds the numbers, not the words
                hashes = (UNKNOWN - unknown_codes(tf.constant(words))).numpy()
            known = tf.gather(hashes, tf.maximum(code, 0))
            hash_ = tf.where(code >= 0, known, UNKNOWN - code)
            return tf.where(code == MISSING, 0, 1 + tf.math.floormod(hash_, self._value(feature, "buckets")))
        left, right = self._id(feature.left, columns), self._id(feature.right, columns)
        pair = tf.cast(left, tf.int64) * self._ids(feature.right) + tf.cast(right, tf.int64)
        ids = self._ids(feature)
        pairs = self._ids(feature.left) * self._ids(feature.right)
        if ids == pairs:
            return tf.cast(pair, tf.int32)
        if pairs <= LARGEST_TABLE:  # LiteRT shifts no 64-bit integers
            return tf.gather(tf.constant(_hash(np.arange(pairs)) % ids, tf.int32), pair)
        return tf.cast(tf.math.floormod(_hash(pair), ids), tf.int32)


def _hash(pair: Any) -> Any:
    """Fibonacci hashing of int64: multiply by 2**64 divided by the golden ratio, keep the upper 31 bits."""
    return pair * -7046029254386353131 >> 33 & 0x7FFFFFFF
