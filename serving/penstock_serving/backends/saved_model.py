"""The reference backend: the SavedModel's `serving_default` signature on TensorFlow."""

import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from penstock_serving.backends import Columns, RowRefusedError
from penstock_serving.schema import OUTPUT, SIGNATURE, STRINGS, ColumnType, Schema
from penstock_serving.seal import SealedModel
from penstock_trainer.errors import InputError
from penstock_trainer.moments import text

ABOUT_THE_GRAPH = ("Graph execution error", "Detected at", "<stack traces", "\t [[", "node ")


class SavedModelBackend:
    """Answers rows with the exported graph itself. TensorFlow is imported by `load`, which takes seconds."""

    name = "tensorflow"
    quick_rows = 0

    def load(self, model: SealedModel) -> None:
        """Import TensorFlow, load the SavedModel and compare its signature with the schema."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # Nothing to gain on models this small, and whenever it is on TensorFlow says so on standard error, unasked.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        import tensorflow as tf

        self._tensorflow: Any = tf
        try:
            # Kept, since a signature holds its model's variables only weakly.
            self._loaded: Any = tf.saved_model.load(str(model.saved_model))
        except (OSError, tf.errors.OpError) as exc:
            raise InputError(f"TensorFlow {tf.__version__} does not load {model.saved_model}: {exc}") from exc
        if SIGNATURE not in self._loaded.signatures:
            raise InputError(f"{model.saved_model} has no signature {SIGNATURE}")
        signature = self._loaded.signatures[SIGNATURE]
        _check_signature(signature, model.schema)
        columns = list(enumerate(model.schema.columns))
        self._numbers = [index for index, column in columns if column.type not in STRINGS]
        self._strings = {index: _WRITTEN.get(column.type, _text) for index, column in columns if column.type in STRINGS}
        self._call = self._stacked(signature, model.schema.names)

    def predict(self, columns: Columns) -> list[float]:
        """The signature's `predictions`, one a row."""
        constant, rows = self._tensorflow.constant, len(columns[0])
        strings = np.array([[written(v) for v in columns[index]] for index, written in self._strings.items()], object)
        try:
            texts = constant(strings.reshape(-1, rows), self._tensorflow.string)
            return self._call(constant(columns.numbers(self._numbers)), texts).numpy().tolist()
        except self._tensorflow.errors.InvalidArgumentError as exc:
            raise RowRefusedError(_reason(str(exc))) from exc

    def _stacked(self, signature: Any, names: Sequence[str]) -> Any:
        """The signature as a function of all numbers and all strings, a column a row of each.

        Two tensors in place of one a column: handing each of them over costs more than computing with it.
        """
        tf = self._tensorflow
        numbers = tf.TensorSpec([len(self._numbers), None], tf.float32)
        strings = tf.TensorSpec([len(self._strings), None], tf.string)

        @tf.function(input_signature=[numbers, strings], autograph=False)
        def stacked(numbers: Any, strings: Any) -> Any:
            values = [*tf.unstack(numbers), *tf.unstack(strings)]
            indices = [*self._numbers, *self._strings]
            return signature(**{names[index]: value for index, value in zip(indices, values, strict=True)})[OUTPUT]

        return stacked.get_concrete_function()


def _text(value: Any) -> Any:
    return "" if value is None else value


def _moment(value: int | None) -> str:
    return "" if value is None else text(value)


_WRITTEN = {ColumnType.TIMESTAMP: _moment}


def _reason(message: str) -> str:
    """What a failed operation says, without where in the graph it is."""
    lines = [line for line in message.splitlines() if line and not line.startswith(ABOUT_THE_GRAPH)]
    said = re.search(r"assertion failed: \[([^\]]*)\]", message)
    return said[1] if said else lines[0] if lines else message


def _check_signature(signature: Any, schema: Schema) -> None:
    """Every column of the schema is an input of its type and shape [rows], and the other way round; one output.

    Raises:
        InputError: the SavedModel and its schema disagree.
    """
    expected = {c.name: "string" if c.type in STRINGS else "float32" for c in schema.columns}
    found = {name: spec.dtype.name for name, spec in signature.structured_input_signature[1].items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise InputError(
                f"column {name!r} is {expected.get(name, 'absent')} in schema.json"
                f" and {found.get(name, 'absent')} in the SavedModel's signature"
            )
    each = [len(schema.classes)] if schema.classes else []
    for specs, wanted in ((signature.structured_input_signature[1], []), (signature.structured_outputs, each)):
        for name, spec in specs.items():
            if spec.shape.rank is None or spec.shape.as_list()[1:] != wanted or not spec.shape.rank:
                expected = f"[{', '.join(['rows', *map(str, wanted)])}]"
                raise InputError(
                    f"tensor {name!r} of the SavedModel's signature has shape {spec.shape}, expected {expected}"
                )
    answers = {name: spec.dtype.name for name, spec in signature.structured_outputs.items()}
    if answers != {OUTPUT: "float32"}:
        raise InputError(f"the SavedModel's signature answers {answers}, expected {OUTPUT} of type float32")
