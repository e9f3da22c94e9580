"""Feature engineering, declared: what becomes of each raw or derived column before the network sees it.

A declaration holds no data. Together with the training rows' statistics and a set of hyperparameters, `graph.py` builds
it into the model, so changing a bucket count or a vocabulary never reads a row again. Part of the light core.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from penstock_trainer.errors import InputError
from penstock_trainer.ranges import Choice, FloatRange, IntRange, Range


@dataclass(frozen=True)
class Scaled:
    """A number made comparable with the others; missing becomes the mean (0 after scaling).

    `by`: `z_score` (mean 0, deviation 1), `min_max` (0 to 1 over the training rows) or `log` (the z-score's cheap
    cousin for long tails: sign(x) * log(1 + |x|), divided by its largest value).
    """

    column: str
    by: Literal["z_score", "min_max", "log"] | Choice = "z_score"

    @property
    def name(self) -> str:
        """The feature's name among the network's inputs."""
        return f"{self.column}_scaled"


@dataclass(frozen=True)
class Cyclic:
    """A number that comes round again, such as an hour or an angle, as a point on a circle; missing is its middle.

    `period`: the distance after which it is the same again, in the column's unit.
    """

    column: str
    period: float

    def __post_init__(self) -> None:
        if not self.period > 0:
            raise InputError(f"Cyclic({self.column!r}): period is {self.period}; it must be above 0")

    @property
    def name(self) -> str:
        """The feature's name among the network's inputs."""
        return f"{self.column}_cyclic"


@dataclass(frozen=True)
class Missing:
    """1.0 where the number or category is missing, else 0.0."""

    column: str

    @property
    def name(self) -> str:
        """The feature's name among the network's inputs."""
        return f"{self.column}_missing"


@dataclass(frozen=True)
class Bucketized:
    """A number cut into buckets; missing has a bucket of its own.

    `buckets`: how many, cut so that each holds about the same number of training rows; or `edges`: where to cut,
    ascending, an edge belonging to the bucket above it; `dimension`: the size of the bucket's embedding.
    """

    column: str
    buckets: int | IntRange | Choice | None = None
    edges: tuple[float, ...] = ()
    dimension: int | IntRange | Choice = 4

    def __post_init__(self) -> None:
        if (self.buckets is None) == (not self.edges):
            raise InputError(f"Bucketized({self.column!r}): give either `buckets` or `edges`")
        if list(self.edges) != sorted(set(self.edges)):
            raise InputError(f"Bucketized({self.column!r}): edges are {self.edges}; they must ascend")

    @property
    def name(self) -> str:
        """The feature's name among the network's inputs."""
        return f"{self.column}_bucketized"


@dataclass(frozen=True)
class Vocabulary:
    """A category known by its rank among the training rows; missing and all that is rarer share an id each.

    `size`: at most so many categories, the most frequent; `minimum_count`: only those seen so often in the training
    rows; `dimension`: the size of the category's embedding.
    """

    column: str
    size: int | IntRange | Choice = 100_000
    minimum_count: int | IntRange | Choice = 1
    dimension: int | IntRange | Choice = 4

    @property
    def name(self) -> str:
        """The feature's name among the network's inputs."""
        return f"{self.column}_vocabulary"


@dataclass(frozen=True)
class Hashed:
    """A category of too many kinds to list, hashed into `buckets` ids; missing has an id of its own.

    A category that no training row had gets an id like any other. `dimension`: the size of the id's embedding.
    """

    column: str
    buckets: int | IntRange | Choice
    dimension: int | IntRange | Choice = 4

    @property
    def name(self) -> str:
        """The feature's name among the network's inputs."""
        return f"{self.column}_hashed"


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text, each known by its rank among all tokens of the training rows; the embeddings of a row's
    tokens are averaged, and a row without tokens has zeros.

    `size`: at most so many tokens, the most frequent; `minimum_count`: only those seen so often in the training rows,
    all that are rarer share an id; `dimension`: the size of a token's embedding.
    """

    column: str
    size: int | IntRange | Choice = 100_000
    minimum_count: int | IntRange | Choice = 1
    dimension: int | IntRange | Choice = 16

    @property
    def name(self) -> str:
        """The feature's name among the network's inputs."""
        return f"{self.column}_tokens"


@dataclass(frozen=True)
class Pixels:
    """A picture's bytes as numbers from 0 to 1, row by row, the channels of a pixel side by side; missing is black."""

    column: str

    @property
    def name(self) -> str:
        """The feature's name among the network's inputs."""
        return f"{self.column}_pixels"


@dataclass(frozen=True)
class Crossed:
    """The combination of two features that have ids, hashed into `buckets` ids."""

    left: "Bucketized | Vocabulary | Hashed"
    right: "Bucketized | Vocabulary | Hashed"
    buckets: int | IntRange | Choice = 10_000
    dimension: int | IntRange | Choice = 4

    @property
    def name(self) -> str:
        """The feature's name among the network's inputs."""
        return f"{self.left.column}_x_{self.right.column}"


WithIds: TypeAlias = Bucketized | Vocabulary | Hashed | Crossed | Tokens
Feature: TypeAlias = Scaled | Cyclic | Missing | Pixels | WithIds


def parts(feature: Feature) -> tuple[Feature, ...]:
    """The feature and those it is made of."""
    return (feature.left, feature.right, feature) if isinstance(feature, Crossed) else (feature,)


def tunable(feature: Feature) -> Iterator[tuple[str, Range]]:
    """The ranges in a feature's declaration: (`<feature>.<field>`, range)."""
    for part in parts(feature):
        for field in fields(part):
            value = getattr(part, field.name)
            if isinstance(value, IntRange | FloatRange | Choice):
                yield f"{part.name}.{field.name}", value
