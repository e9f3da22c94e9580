"""What a problem file imports. Reaching for the model function imports TensorFlow; nothing else here does."""

from typing import TYPE_CHECKING, Any

from penstock_trainer.errors import InputError
from penstock_trainer.features import Bucketized, Crossed, Cyclic, Hashed, Missing, Pixels, Scaled, Tokens, Vocabulary
from penstock_trainer.problem import Category, Image, Integer, Label, Number, Problem, Text, TimeSplit, Timestamp
from penstock_trainer.ranges import Choice, FloatRange, IntRange

if TYPE_CHECKING:
    from penstock_trainer.models import convolutional, linear, wide_and_deep

__all__ = [
    "Bucketized",
    "Category",
    "Choice",
    "Crossed",
    "Cyclic",
    "FloatRange",
    "Hashed",
    "Image",
    "InputError",
    "IntRange",
    "Integer",
    "Label",
    "Missing",
    "Number",
    "Pixels",
    "Problem",
    "Scaled",
    "Text",
    "TimeSplit",
    "Timestamp",
    "Tokens",
    "Vocabulary",
    "convolutional",
    "linear",
    "wide_and_deep",
]
MODELS = ("convolutional", "linear", "wide_and_deep")


def __getattr__(name: str) -> Any:
    if name in MODELS:
        from penstock_trainer import models

        return getattr(models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
