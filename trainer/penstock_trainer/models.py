"""Networks for the features a problem declares. A problem may bring a function of its own with the same two
parameters.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from penstock_trainer.errors import InputError
from penstock_trainer.featurizer import InputSpec


def inputs_for(specs: Mapping[str, InputSpec]) -> dict[str, Any]:
    """Keras inputs, one a feature: float32 of shape [rows, width], or int32 ids of shape [rows]."""
    return {
        name: keras.Input([], dtype="int32", name=name)
        if spec.ids is not None
        else keras.Input([spec.width], name=name)
        for name, spec in specs.items()
    }


def wide_and_deep(inputs: Mapping[str, Any], specs: Mapping[str, InputSpec], parameters: Mapping[str, Any]) -> Any:
    """Logits of shape [rows, outputs]: a linear part over ids beside a network over embeddings and numbers.

    Parameters: `hidden`, the layers' units ("128,64"), and `dropout`, the share dropped after each of them.
    """
    numbers = [inputs[name] for name, spec in specs.items() if spec.ids is None]
    hidden = keras.layers.Concatenate()([*numbers, *embed(inputs, specs)])
    for units in str(parameters["hidden"]).split(","):
        hidden = keras.layers.Dense(int(units), activation="relu")(hidden)
        hidden = keras.layers.Dropout(parameters["dropout"])(hidden)
    return tf.add_n([keras.layers.Dense(_outputs(parameters))(hidden), *_weights(inputs, specs, _outputs(parameters))])


def linear(inputs: Mapping[str, Any], specs: Mapping[str, InputSpec], parameters: Mapping[str, Any]) -> Any:
    """Logits of shape [rows, outputs]: a weight for every number and every id, and nothing else."""
    numbers = [inputs[name] for name, spec in specs.items() if spec.ids is None]
    outputs = _outputs(parameters)
    parts = _weights(inputs, specs, outputs)
    if numbers:
        parts.append(
            keras.layers.Dense(outputs)(keras.layers.Concatenate()(numbers) if len(numbers) > 1 else numbers[0])
        )
    return tf.add_n(parts)


def convolutional(inputs: Mapping[str, Any], specs: Mapping[str, InputSpec], parameters: Mapping[str, Any]) -> Any:
    """Logits of shape [rows, outputs] for numbers that have neighbours: pixels, or readings one after the other.

    The features that are numbers, in the problem's order, fill a grid row by row; small filters go over it, and what
    they find is joined with the embeddings of all ids. Parameters: `grid`, the grid's rows and columns ("8x8", or
    "1x24" for a sequence), `filters`, the layers' filters ("16,32"), `hidden`, the units of a layer after them, and
    `dropout`, the share dropped before the last.

    Raises:
        InputError: the grid does not have a cell for each number.
    """
    numbers = [inputs[name] for name, spec in specs.items() if spec.ids is None]
    width = sum(spec.width for spec in specs.values() if spec.ids is None)
    rows, _, columns = str(parameters["grid"]).partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) * int(columns) == width):
        raise InputError(
            f"hyperparameter 'grid' is {parameters['grid']!r}; the features have {width} numbers to fill it"
        )
    found = keras.layers.Reshape([int(rows), int(columns), 1])(keras.layers.Concatenate()(numbers))
    kernel = (min(3, int(rows)), min(3, int(columns)))
    for filters in str(parameters["filters"]).split(","):
        found = keras.layers.Conv2D(int(filters), kernel, padding="same", activation="relu")(found)
    flat = keras.layers.Flatten()(found)
    embedded = embed(inputs, specs)
    joined = keras.layers.Concatenate()([flat, *embedded]) if embedded else flat
    hidden = keras.layers.Dense(int(parameters["hidden"]), activation="relu")(joined)
    return keras.layers.Dense(_outputs(parameters))(keras.layers.Dropout(parameters["dropout"])(hidden))


def embed(inputs: Mapping[str, Any], specs: Mapping[str, InputSpec], initializer: str = "uniform") -> list[Any]:
    """The embeddings of all inputs that are ids: tensors of shape [rows, features * dimension], one a dimension in use.

    Features of one dimension share a table, each with its own rows in it: one look-up for all of them instead of one
    each, and one large table that parameter servers split evenly instead of many small ones.
    """
    embedded = []
    for dimension in sorted({spec.dimension for spec in specs.values() if spec.ids is not None}):
        ids, first = [], 0
        for name, spec in specs.items():
            if spec.ids is not None and spec.dimension == dimension:
                ids.append(inputs[name] + first)
                first += spec.ids
        table = keras.layers.Embedding(first, dimension, embeddings_initializer=initializer)
        embedded.append(keras.layers.Flatten()(table(tf.stack(ids, axis=1))))
    return embedded


def _weights(inputs: Mapping[str, Any], specs: Mapping[str, InputSpec], outputs: int) -> list[Any]:
    """The ids' part of linear logits: none, or one tensor of shape [rows, outputs]."""
    ids = {name: InputSpec(spec.ids, outputs) for name, spec in specs.items() if spec.ids is not None}
    shape = [-1, len(ids), outputs]
    return [tf.reduce_sum(tf.reshape(weights, shape), 1) for weights in embed(inputs, ids, "zeros")]


def _outputs(parameters: Mapping[str, Any]) -> int:
    """How many logits a row has: more than 1 for several classes."""
    return parameters.get("outputs", 1)
