"""What a problem file imports. Reaching for the model function imports TensorFlow; nothing else here does."""

from typing import Any

from penstock_trainer.errors import InputError
from penstock_trainer.features import Bucketized, Crossed, Cyclic, Hashed, Missing, Scaled, Vocabulary
from penstock_trainer.problem import Category, Integer, Label, Number, Problem, TimeSplit, Timestamp
from penstock_trainer.ranges import Choice, FloatRange, IntRange

__all__ = [
    "Bucketized",
    "Category",
    "Choice",
    "Crossed",
    "Cyclic",
    "FloatRange",
    "Hashed",
    "InputError",
    "IntRange",
    "Integer",
    "Label",
    "Missing",
    "Number",
    "Problem",
    "Scaled",
    "TimeSplit",
    "Timestamp",
    "Vocabulary",
    "wide_and_deep",
]


def __getattr__(name: str) -> Any:
    if name == "wide_and_deep":
        from penstock_trainer.models import wide_and_deep

        return wide_and_deep
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
