"""The reference backend: the SavedModel's `serving_default` signature on TensorFlow."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from penstock_serving.backends import RowRefusedError, Values
from penstock_serving.schema import OUTPUT, SIGNATURE, ColumnType, Schema
from penstock_serving.seal import SealedModel
from penstock_trainer.errors import InputError


class SavedModelBackend:
    """Answers rows with the exported graph itself. TensorFlow is imported by `load`, which takes seconds."""

    def load(self, model: SealedModel) -> None:
        """Import TensorFlow, load the SavedModel and compare its signature with the schema."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # Nothing to gain on models this small, and whenever it is on TensorFlow says so on standard error, unasked.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        import numpy as np
        import tensorflow as tf

        try:
            # Kept, since a signature holds its model's variables only weakly.
            self._loaded: Any = tf.saved_model.load(str(model.saved_model))
        except (OSError, tf.errors.OpError) as exc:
            raise InputError(f"TensorFlow {tf.__version__} does not load {model.saved_model}: {exc}") from exc
        if SIGNATURE not in self._loaded.signatures:
            raise InputError(f"{model.saved_model} has no signature {SIGNATURE}")
        self._signature: Any = self._loaded.signatures[SIGNATURE]
        _check_signature(self._signature, model.schema)

        def numbers(values: Values) -> Any:
            return tf.constant(np.array(values, dtype=np.float32))  # None becomes NaN

        def strings(values: Values) -> Any:
            return tf.constant(["" if value is None else value for value in values])

        self._tensors: list[tuple[str, Callable[[Values], Any]]] = [
            (column.name, strings if column.type is ColumnType.CATEGORY else numbers) for column in model.schema.columns
        ]
        self._refusal: type[Exception] = tf.errors.InvalidArgumentError

    def predict(self, columns: Sequence[Values]) -> list[float]:
        """The signature's `predictions`, one a row."""
        tensors = {name: make(values) for (name, make), values in zip(self._tensors, columns, strict=True)}
        try:
            return self._signature(**tensors)[OUTPUT].numpy().tolist()
        except self._refusal as exc:
            raise RowRefusedError(str(exc).splitlines()[0]) from exc


def _check_signature(signature: Any, schema: Schema) -> None:
    """Every column of the schema is an input of its type and shape [rows], and the other way round; one output.

    Raises:
        InputError: the SavedModel and its schema disagree.
    """
    expected = {c.name: "string" if c.type is ColumnType.CATEGORY else "float32" for c in schema.columns}
    found = {name: spec.dtype.name for name, spec in signature.structured_input_signature[1].items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise InputError(
                f"column {name!r} is {expected.get(name, 'absent')} in schema.json"
                f" and {found.get(name, 'absent')} in the SavedModel's signature"
            )
    for name, spec in [*signature.structured_input_signature[1].items(), *signature.structured_outputs.items()]:
        if spec.shape.rank != 1:
            raise InputError(f"tensor {name!r} of the SavedModel's signature has shape {spec.shape}, expected [rows]")
    answers = {name: spec.dtype.name for name, spec in signature.structured_outputs.items()}
    if answers != {OUTPUT: "float32"}:
        raise InputError(f"the SavedModel's signature answers {answers}, expected {OUTPUT} of type float32")
