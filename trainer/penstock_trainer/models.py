"""Networks for the features a problem declares. A problem may bring a function of its own with the same two parameters."""

from collections.abc import Mapping
from typing import Any

import tf_keras as keras

from penstock_trainer.graph import InputSpec


def inputs_for(specs: Mapping[str, InputSpec]) -> dict[str, Any]:
    """Keras inputs of shape [rows], one a feature: float32, or int32 for ids."""
    return {
        name: keras.Input([], dtype="float32" if spec.ids is None else "int32", name=name)
        for name, spec in specs.items()
    }


def wide_and_deep(inputs: Mapping[str, Any], specs: Mapping[str, InputSpec], parameters: Mapping[str, Any]) -> Any:
    """Logits of shape [rows, 1]: a linear part over ids beside a network over embeddings and numbers.

    Parameters: `hidden`, the layers' units ("128,64"), and `dropout`, the share dropped after each of them.
    """
    numbers, wide = [], []
    for name, spec in specs.items():
        if spec.ids is None:
            numbers.append(keras.layers.Reshape([1])(inputs[name]))
        else:
            numbers.append(keras.layers.Embedding(spec.ids, spec.dimension, name=f"{name}_embedding")(inputs[name]))
            wide.append(
                keras.layers.Embedding(spec.ids, 1, embeddings_initializer="zeros", name=f"{name}_weight")(inputs[name])
            )
    hidden = keras.layers.Concatenate()(numbers)
    for units in str(parameters["hidden"]).split(","):
        hidden = keras.layers.Dense(int(units), activation="relu")(hidden)
        hidden = keras.layers.Dropout(parameters["dropout"])(hidden)
    deep = keras.layers.Dense(1)(hidden)
    return keras.layers.Add()([deep, *wide]) if wide else deep
