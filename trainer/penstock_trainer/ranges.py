"""Tunable values: they stand in the problem file where the value itself would stand.

Part of the light core: imports nothing but the standard library.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class IntRange:
    """A whole number from `low` to `high`, both included; `log` searches by order of magnitude."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self, self.low, self.high, self.log)

    @property
    def default(self) -> int:
        """The value used when nothing was tuned: the middle of the range."""
        return round(_middle(self.low, self.high, self.log))


@dataclass(frozen=True)
class FloatRange:
    """A number from `low` to `high`; `log` searches by order of magnitude."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self, self.low, self.high, self.log)

    @property
    def default(self) -> float:
        """The value used when nothing was tuned: the middle of the range."""
        return _middle(self.low, self.high, self.log)


@dataclass(frozen=True, init=False)
class Choice:
    """One of the values given; the first is the one used when nothing was tuned."""

    options: tuple[Any, ...]

    def __init__(self, *options: Any) -> None:
        if not options:
            raise ValueError("Choice() needs at least one value")
        object.__setattr__(self, "options", options)

    @property
    def default(self) -> Any:
        """The first value."""
        return self.options[0]


Range: TypeAlias = IntRange | FloatRange | Choice
Hyperparameters: TypeAlias = Mapping[str, Any]


def resolve(value: Any, name: str, hyperparameters: Hyperparameters) -> Any:
    """`value` itself, or, where it is a range, what `hyperparameters` says under `name`, or else the range's
    default.
    """
    if isinstance(value, IntRange | FloatRange | Choice):
        return hyperparameters.get(name, value.default)
    return value


def _check_bounds(range_: object, low: float, high: float, log: bool) -> None:
    if not low <= high:
        raise ValueError(f"{range_}: low must not be above high")
    if log and low <= 0:
        raise ValueError(f"{range_}: a logarithmic range starts above 0")


def _middle(low: float, high: float, log: bool) -> float:
    return math.sqrt(low * high) if log else (low + high) / 2
