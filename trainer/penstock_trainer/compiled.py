"""The slim form, made: the graph behind the category look-ups as one LiteRT file, from the model's own functions."""

import json
import re
from pathlib import Path
from typing import Any

import tensorflow as tf

from penstock_trainer import graph, slim
from penstock_trainer.featurizer import Featurizer
from penstock_trainer.moments import CELLS
from penstock_trainer.network import Network
from penstock_trainer.problem import Category, Image, Problem, Text, Timestamp

LARGEST_VARIABLES = 128 << 20
"""Bytes: LiteRT's converter takes about 25 times as much memory as it is given."""
UNSUPPORTED = re.compile(r"\btf\.([A-Z]\w*)")


class CannotCompile(Exception):
    """The model has no slim form; the message says which operation or column is in its way."""


def compile_slim(problem: Problem, network: Network, folder: Path) -> None:
    """Write the slim form of a model whose signature takes the columns of `problem`.

    Raises:
        CannotCompile: LiteRT lacks an operation of the model, text is read by something else than a look-up, or the
            variables are larger than `LARGEST_VARIABLES`.
    """
    size = sum(weight.shape.num_elements() * weight.dtype.size for weight in network.keras_model.weights)
    if size > LARGEST_VARIABLES:
        raise CannotCompile(f"the variables' {size >> 20} MiB are more than the {LARGEST_VARIABLES >> 20} it may have")
    columns = graph.signature_columns(problem)
    categories = [name for name, column in columns.items() if isinstance(column, Category)]
    timestamps = [name for name, column in columns.items() if isinstance(column, Timestamp)]
    numbers = [name for name in columns if name not in categories and name not in timestamps]
    for name, column in columns.items():
        if isinstance(column, Text | Image):
            raise CannotCompile(f"column {name!r} is a {column.type}: only TensorFlow's graph takes it apart")
    _refuse_text(problem, set(categories))

    def answer(numbers_: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        raw = dict(zip(numbers, tf.unstack(numbers_, num=len(numbers)), strict=True))
        coded = dict(zip(categories, tf.unstack(codes[: len(categories)], num=len(categories)), strict=True))
        for place, name in enumerate(timestamps):
            first = len(categories) + CELLS * place
            raw[name] = tf.transpose(codes[first : first + CELLS])
        taken = graph.with_parts(problem.columns, raw)
        return network.predict({**taken, **graph.derive(problem, taken), **coded})

    rows = len(categories) + CELLS * len(timestamps)
    specs = tf.TensorSpec([len(numbers), None], tf.float32), tf.TensorSpec([rows, None], tf.int32)
    concrete = tf.function(answer, autograph=network.autograph, input_signature=specs).get_concrete_function()
    # No module beside the function: its variables are frozen into it, and an object would be saved whole only to be
    # loaded again, which takes several times as long.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], None)
    try:
        compiled = converter.convert()
    except Exception as exc:
        missing = ", ".join(sorted(set(UNSUPPORTED.findall(str(exc)))))
        raise CannotCompile(f"LiteRT has no {missing}" if missing else f"LiteRT: {str(exc).splitlines()[0]}") from exc
    folder.mkdir()
    (folder / slim.GRAPH).write_bytes(compiled)
    lookups = {
        "columns": list(columns),
        "categories": {name: _look_up(network.featurizer, name) for name in categories},
        "timestamps": timestamps,
    }
    (folder / slim.LOOKUPS).write_text(json.dumps(lookups, ensure_ascii=False), "utf-8")


def _look_up(featurizer: Featurizer, column: str) -> dict[str, Any]:
    return {"words": featurizer.words(column), "hashed": featurizer.hashes(column)}


def _refuse_text(problem: Problem, categories: set[str]) -> None:
    """Text may be looked up and nothing else: the graph behind the look-ups has none.

    Raises:
        CannotCompile: `derive` reads or makes text; names the column, and the operations that `derive` does on text.
    """
    if problem.derive is None:
        return
    made = [name for name, column in problem.derived.items() if isinstance(column, Category | Text)]
    text = {name for name, column in problem.inputs.items() if graph.column_spec(name, column).dtype == tf.string}
    read = [name for name in graph.columns_read(problem)[0] if name in text | categories]
    if made or read:
        which = f"reads the text of {read[0]!r}" if read else f"makes {made[0]!r}"
        raise CannotCompile(f"derive {which} ({', '.join(_text_operations(problem))})")


def _text_operations(problem: Problem) -> list[str]:
    """The kinds of operations in `derive` that take or give text."""
    specs = {name: graph.column_spec(name, column) for name, column in problem.inputs.items()}
    traced = tf.function(lambda columns: graph.derive(problem, columns), autograph=False).get_concrete_function(specs)
    found = {
        operation.type
        for operation in traced.graph.get_operations()
        if any(tensor.dtype == tf.string for tensor in [*operation.inputs, *operation.outputs])
    }
    return sorted(found - {"Placeholder", "Identity", "Const"})
