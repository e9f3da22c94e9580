"""Networks for the features a problem declares. A problem may bring a function of its own with the same two
parameters.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import tensorflow as tf
import tf_keras as keras

from penstock_trainer.errors import InputError
from penstock_trainer.featurizer import InputSpec


def inputs_for(specs: Mapping[str, InputSpec]) -> dict[str, Any]:
    """Keras inputs, one a feature: float32 of shape [rows, width], or int32 ids of shape [rows] or [rows, tokens]."""
    return {
        name: keras.Input([] if spec.tokens is None else [spec.tokens], dtype="int32", name=name)
        if spec.ids is not None
        else keras.Input([spec.width], name=name)
        for name, spec in specs.items()
    }


def wide_and_deep(inputs: Mapping[str, Any], specs: Mapping[str, InputSpec], parameters: Mapping[str, Any]) -> Any:
    """Logits of shape [rows, outputs]: a linear part over ids beside a network over embeddings and numbers.

    Parameters: `hidden`, the layers' units ("128,64"), and `dropout`, the share dropped after each of them.
    """
    numbers = [inputs[name] for name, spec in specs.items() if spec.ids is None]
    found = [*numbers, *embed(inputs, specs)]
    hidden = keras.layers.Concatenate()(found) if len(found) > 1 else found[0]
    for units in str(parameters["hidden"]).split(","):
        hidden = keras.layers.Dense(int(units), activation="relu")(hidden)
        hidden = keras.layers.Dropout(parameters["dropout"])(hidden)
    outputs = _outputs(parameters)
    return tf.add_n([keras.layers.Dense(outputs, dtype="float32")(hidden), *_weights(inputs, specs, outputs)])


def linear(inputs: Mapping[str, Any], specs: Mapping[str, InputSpec], parameters: Mapping[str, Any]) -> Any:
    """Logits of shape [rows, outputs]: a weight for every number and every id, and nothing else."""
    numbers = [inputs[name] for name, spec in specs.items() if spec.ids is None]
    outputs = _outputs(parameters)
    parts = _weights(inputs, specs, outputs)
    if numbers:
        parts.append(
            keras.layers.Dense(outputs, dtype="float32")(
                keras.layers.Concatenate(dtype="float32")(numbers) if len(numbers) > 1 else numbers[0]
            )
        )
    return tf.add_n(parts)


def multiplications(model: Any, specs: Mapping[str, InputSpec], parameters: Mapping[str, Any]) -> int | None:
    """Of a row, in the layers of `wide_and_deep` or `linear`; of another model function it is not known: None."""
    if model is linear:
        return sum(spec.width for spec in specs.values() if spec.ids is None) * _outputs(parameters)
    if model is not wide_and_deep:
        return None
    first = sum(spec.width if spec.ids is None else spec.dimension for spec in specs.values())
    widths = [first, *map(int, str(parameters["hidden"]).split(",")), _outputs(parameters)]
    return sum(before * after for before, after in pairwise(widths))


def convolutional(inputs: Mapping[str, Any], specs: Mapping[str, InputSpec], parameters: Mapping[str, Any]) -> Any:
    """Logits of shape [rows, outputs] for numbers that have neighbours: pixels, or readings one after the other.

    The features that are numbers, in the problem's order, fill a grid row by row; small filters go over it, and what
    they find is joined with the embeddings of all ids. Parameters: `grid`, the grid's rows and columns ("8x8", or
    "1x24" for a sequence), and the channels where a cell has several numbers ("32x32x3"); `filters`, the layers'
    filters ("16,32"); `hidden`, the units of a layer after them; `dropout`, the share dropped before the last.

    Raises:
        InputError: the grid does not have a cell for each number.
    """
    numbers = [inputs[name] for name, spec in specs.items() if spec.ids is None]
    width = sum(spec.width for spec in specs.values() if spec.ids is None)
    grid = str(parameters["grid"]).split("x")
    shape = [int(size) for size in grid if size.isdecimal()]
    if len(shape) != len(grid) or len(shape) not in (2, 3) or math.prod(shape) != width:
        raise InputError(
            f"hyperparameter 'grid' is {parameters['grid']!r}; the features have {width} numbers to fill it"
        )
    joined = keras.layers.Concatenate()(numbers) if len(numbers) > 1 else numbers[0]
    found = keras.layers.Reshape(shape if len(shape) == 3 else [*shape, 1])(joined)
    kernel = (min(3, shape[0]), min(3, shape[1]))
    for filters in str(parameters["filters"]).split(","):
        found = keras.layers.Conv2D(int(filters), kernel, padding="same", activation="relu")(found)
    flat = keras.layers.Flatten()(found)
    embedded = embed(inputs, specs)
    joined = keras.layers.Concatenate()([flat, *embedded]) if embedded else flat
    hidden = keras.layers.Dense(int(parameters["hidden"]), activation="relu")(joined)
    dropped = keras.layers.Dropout(parameters["dropout"])(hidden)
    return keras.layers.Dense(_outputs(parameters), dtype="float32")(dropped)


def embed(
    inputs: Mapping[str, Any],
    specs: Mapping[str, InputSpec],
    initializer: str = "uniform",
    dtype: str | None = None,
) -> list[Any]:
    """The embeddings of all inputs that are ids: tensors of shape [rows, features * dimension], one a dimension in use,
    and one of shape [rows, dimension] for each text, the mean of its tokens'.

    Features of one dimension share a table, each with its own rows in it: one look-up for all of them instead of one
    each, and one large table that parameter servers split evenly instead of many small ones.
    """
    embedded = []
    single = {name: spec for name, spec in specs.items() if spec.tokens is None}
    for dimension in sorted({spec.dimension for spec in single.values() if spec.ids is not None}):
        ids, first = [], 0
        for name, spec in single.items():
            if spec.ids is not None and spec.dimension == dimension:
                ids.append(inputs[name] + first)
                first += spec.ids
        table = keras.layers.Embedding(first, dimension, embeddings_initializer=initializer, dtype=dtype)
        embedded.append(keras.layers.Flatten(dtype=dtype)(table(tf.stack(ids, axis=1))))
    for name, spec in specs.items():
        if spec.tokens is not None:
            # A mean of many in float32, whatever the layers compute in.
            table = keras.layers.Embedding(
                spec.ids, spec.dimension, embeddings_initializer=initializer, dtype="float32"
            )
            there = tf.cast(inputs[name] != 0, tf.float32)[:, :, tf.newaxis]
            total = tf.reduce_sum(table(inputs[name]) * there, axis=1)
            embedded.append(total / tf.maximum(tf.reduce_sum(there, axis=1), 1.0))
    return embedded


def _weights(inputs: Mapping[str, Any], specs: Mapping[str, InputSpec], outputs: int) -> list[Any]:
    """The ids' and texts' parts of linear logits: tensors of shape [rows, outputs]."""
    ids = {name: replace(spec, dimension=outputs) for name, spec in specs.items() if spec.ids is not None}
    return [
        tf.reduce_sum(tf.reshape(weights, [-1, weights.shape[1] // outputs, outputs]), 1)
        for weights in embed(inputs, ids, "zeros", "float32")
    ]


def _outputs(parameters: Mapping[str, Any]) -> int:
    """How many logits a row has: more than 1 for several classes."""
    return parameters.get("outputs", 1)
