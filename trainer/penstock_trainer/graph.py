"""The graph from raw columns to the network's inputs: written once, used in preprocessing, training and the served
model.

Three steps, each a function of tensors of shape [rows]:

    raw columns --derive--> all columns --encode--> numbers and codes --featurize--> network inputs

Preprocessing runs the first, training the last (its blocks hold numbers and codes), the served signature all three.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from penstock_trainer.errors import InputError
from penstock_trainer.examples import MISSING, UNKNOWN
from penstock_trainer.features import Bucketized, Crossed, Feature, Missing, Scaled, Vocabulary
from penstock_trainer.problem import Category, Column, Problem, suggestion
from penstock_trainer.ranges import Hyperparameters, resolve
from penstock_trainer.statistics import CategoryStatistics, NumberStatistics, Statistics

Tensors = dict[str, tf.Tensor]


class ReadColumns(Mapping[str, tf.Tensor]):
    """The columns a problem's function may read; remembers those it did, and names the one it must not."""

    def __init__(self, function: str, columns: Mapping[str, Any], hidden: frozenset[str] = frozenset()):
        self.function, self.columns, self.hidden = function, columns, hidden
        self.read: dict[str, None] = {}

    def __getitem__(self, name: str) -> tf.Tensor:
        if name in self.hidden:
            raise InputError(
                f"{self.function} reads {name!r}, an outcome: it is known only after the moment of prediction"
            )
        if name not in self.columns:
            raise InputError(f"{self.function} reads {name!r}, which is no column{suggestion(name, self.columns)}")
        self.read[name] = None
        return self.columns[name]

    def __iter__(self):
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


def column_spec(name: str, column: Column) -> tf.TensorSpec:
    """A raw column as the graph takes it: shape [rows], string for a category, else float32."""
    return tf.TensorSpec([None], tf.string if isinstance(column, Category) else tf.float32, name)


def derive(problem: Problem, columns: Mapping[str, tf.Tensor]) -> Tensors:
    """The derived columns of `columns`, as the problem's `derive` makes them, checked against their declaration.

    Raises:
        InputError: `derive` reads a column there is not or an outcome, or returns other columns or types than declared.
    """
    if problem.derive is None:
        return {}
    outcomes = frozenset(name for name, column in problem.columns.items() if column.outcome)
    derived = problem.derive(ReadColumns("derive", columns, outcomes))
    if derived.keys() != problem.derived.keys():
        raise InputError(
            f"derive returns {sorted(derived)}, the problem declares derived columns {sorted(problem.derived)}"
        )
    for name, tensor in derived.items():
        wanted = column_spec(name, problem.derived[name]).dtype
        if tensor.dtype != wanted:
            raise InputError(
                f"derive returns {name!r} as {tensor.dtype.name}, declared {problem.derived[name].type} ({wanted.name})"
            )
    return derived


def check(problem: Problem) -> None:
    """Trace `derive` and the label once.

    Raises:
        InputError: they read or return what does not fit the problem's columns, or fail.
    """
    specs = [{name: column_spec(name, column) for name, column in problem.columns.items()}]
    for name, function in (
        ("derive", lambda c: derive(problem, c)),
        ("the label", lambda c: problem.label.of(ReadColumns("the label", c))),
    ):
        try:
            tf.function(function, autograph=False).get_concrete_function(*specs)
        except InputError:
            raise
        except Exception as exc:
            raise InputError(
                f"{name} of problem {problem.name!r} fails: {type(exc).__name__}: {str(exc).splitlines()[0]}"
            ) from exc


def columns_read(problem: Problem) -> tuple[list[str], list[str]]:
    """(columns `derive` reads, columns the label reads), found by tracing both functions once."""
    placeholders = {name: column_spec(name, column) for name, column in problem.columns.items()}

    def trace(name: str, function: Any, hidden: frozenset[str]) -> list[str]:
        seen: dict[str, None] = {}

        @tf.function(autograph=False)
        def traced(columns: Tensors) -> Any:
            reader = ReadColumns(name, columns, hidden)
            answer = function(reader)
            seen.update(reader.read)
            return answer

        traced.get_concrete_function(placeholders)
        return list(seen)

    outcomes = frozenset(name for name, column in problem.columns.items() if column.outcome)
    derive_reads = trace("derive", problem.derive, outcomes) if problem.derive else []
    return derive_reads, trace("the label", problem.label.of, frozenset())


def signature_columns(problem: Problem) -> dict[str, Column]:
    """The raw columns the served model takes: what `derive` and the features use, in the problem's order."""
    used = set(columns_read(problem)[0])
    for feature in problem.features:
        used |= {feature.left.column, feature.right.column} if isinstance(feature, Crossed) else {feature.column}
    return {name: column for name, column in problem.inputs.items() if name in used}


class Encoder(tf.Module):
    """Category text to codes: a category's rank among the training rows."""

    def __init__(self, vocabularies: Mapping[str, list[str]]):
        super().__init__()
        self.tables = {
            name: tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.constant(words, tf.string), tf.range(len(words), dtype=tf.int32)
                ),
                UNKNOWN,
            )
            for name, words in vocabularies.items()
        }

    def __call__(self, name: str, text: tf.Tensor) -> tf.Tensor:
        """int32 codes of a category column; the empty string is missing."""
        return tf.where(text == "", MISSING, self.tables[name].lookup(text))


@dataclass(frozen=True)
class InputSpec:
    """One input of the network: a float32 of shape [rows], or, where `ids` is set, an int32 id below `ids`."""

    ids: int | None = None
    dimension: int = 1


class Featurizer:
    """The problem's features, cut from the training rows' statistics with one set of hyperparameters."""

    def __init__(self, problem: Problem, statistics: Statistics, hyperparameters: Hyperparameters):
        self.features = list(problem.features)
        self.statistics = statistics
        self.hyperparameters = hyperparameters

    def specs(self) -> dict[str, InputSpec]:
        """The network's inputs, by feature name."""
        return {feature.name: self._spec(feature) for feature in self.features}

    def __call__(self, columns: Mapping[str, tf.Tensor]) -> Tensors:
        """Numbers (float32, NaN where missing) and category codes (int32), shape [rows], to the network's inputs."""
        return {feature.name: self._apply(feature, columns) for feature in self.features}

    def _value(self, feature: Feature, field: str) -> Any:
        return resolve(getattr(feature, field), f"{feature.name}.{field}", self.hyperparameters)

    def _spec(self, feature: Feature) -> InputSpec:
        if isinstance(feature, Scaled | Missing):
            return InputSpec()
        return InputSpec(self._ids(feature), self._value(feature, "dimension"))

    def _ids(self, feature: "Bucketized | Vocabulary | Crossed") -> int:
        """How many ids the feature has: two of a bucket's or category's are for the missing and the unknown."""
        if isinstance(feature, Bucketized):
            return len(self._boundaries(feature)) + 1 + 2
        if isinstance(feature, Vocabulary):
            return self._vocabulary_size(feature) + 2
        return min(self._value(feature, "buckets"), self._ids(feature.left) * self._ids(feature.right))

    def _boundaries(self, feature: Bucketized) -> list[float]:
        return self._numbers(feature.column).boundaries(self._value(feature, "buckets"))

    def _vocabulary_size(self, feature: Vocabulary) -> int:
        column = self.statistics[feature.column]
        assert isinstance(column, CategoryStatistics)
        least = self._value(feature, "minimum_count")
        frequent = sum(count >= least for count in column.categories.values())
        return min(self._value(feature, "size"), frequent)

    def _numbers(self, name: str) -> NumberStatistics:
        column = self.statistics[name]
        assert isinstance(column, NumberStatistics)
        return column

    def _apply(self, feature: Feature, columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
        if isinstance(feature, Scaled):
            return self._scaled(feature, columns[feature.column])
        if isinstance(feature, Missing):
            column = columns[feature.column]
            return tf.cast(tf.math.is_nan(column) if column.dtype.is_floating else column == MISSING, tf.float32)
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
            scaled = tf.sign(values) * tf.math.log1p(tf.abs(values)) / float(tf.math.log1p(largest))
        else:
            scaled = (values - statistics.mean) / statistics.variance**0.5
        return tf.where(tf.math.is_nan(values), tf.zeros_like(scaled), scaled)

    def _id(self, feature: "Bucketized | Vocabulary | Crossed", columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """int32 ids; 0 is missing, 1 unknown, then buckets in order or categories by rank."""
        if isinstance(feature, Bucketized):
            values = columns[feature.column]
            bucket = tf.raw_ops.Bucketize(
                input=tf.where(tf.math.is_nan(values), 0.0, values), boundaries=self._boundaries(feature)
            )
            return tf.where(tf.math.is_nan(values), 0, bucket + 2)
        if isinstance(feature, Vocabulary):
            code = columns[feature.column]
            known = tf.where((code >= 0) & (code < self._vocabulary_size(feature)), code + 2, 1)
            return tf.where(code == MISSING, 0, known)
        left, right = self._id(feature.left, columns), self._id(feature.right, columns)
        pair = tf.cast(left, tf.int64) * self._ids(feature.right) + tf.cast(right, tf.int64)
        ids = self._ids(feature)
        if ids < self._ids(feature.left) * self._ids(feature.right):
            # Fibonacci hashing: multiply by 2**64 divided by the golden ratio, keep the upper bits.
            pair = tf.bitwise.right_shift(pair * -7046029254386353131, 33)
            pair = tf.bitwise.bitwise_and(pair, 0x7FFFFFFF)
        return tf.cast(tf.math.floormod(pair, ids), tf.int32)
