"""Networks for the features a problem declares. A problem may bring a function of its own with the same two
parameters.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

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
    """Logits of shape [rows, 1]: a linear part over ids beside a network over embeddings and numbers.

    Parameters: `hidden`, the layers' units ("128,64"), and `dropout`, the share dropped after each of them.
    """
    numbers = [inputs[name] for name, spec in specs.items() if spec.ids is None]
    hidden = keras.layers.Concatenate()([*numbers, *embed(inputs, specs)])
    for units in str(parameters["hidden"]).split(","):
        hidden = keras.layers.Dense(int(units), activation="relu")(hidden)
        hidden = keras.layers.Dropout(parameters["dropout"])(hidden)
    logits = keras.layers.Dense(1)(hidden)
    linear = {name: InputSpec(spec.ids, 1) for name, spec in specs.items() if spec.ids is not None}
    for weights in embed(inputs, linear, "zeros"):
        logits += tf.reduce_sum(weights, 1, keepdims=True)
    return logits


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
