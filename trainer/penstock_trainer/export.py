"""Export: the trained network and everything before it as one SavedModel that takes raw columns.

The exported graph runs `derive`, the vocabularies' look-ups and the featurizer: there is no second implementation of
the preprocessing. Export proves it: the SavedModel, loaded again, answers every validation and test row from its raw
columns as the trained network answered it from the prepared ones. Where LiteRT has the operations, a slim form is
written beside it and proven on the same rows to answer as the SavedModel does.
"""

import base64
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from penstock_trainer import graph, moments, pictures, slim, statistics
from penstock_trainer.artifacts import file_digests, folder_digest
from penstock_trainer.compiled import CannotCompile, compile_slim
from penstock_trainer.dataset import Dataset
from penstock_trainer.evaluation import SPLITS, Predictions
from penstock_trainer.examples import UNKNOWN, read_block
from penstock_trainer.features import Hashed, parts
from penstock_trainer.network import Network
from penstock_trainer.problem import Category, Column, Image, Problem, Text, Timestamp, parts_of
from penstock_trainer.statistics import NumberStatistics

TOLERANCE = 1e-6
SAMPLES = 16
UNSEEN = "\x00 let go by the statistics"
UNSEEN_TOKEN = "letgobythestatistics"


class Served(tf.Module):
    """The model as the endpoint runs it."""

    def __init__(self, problem: Problem, dataset: Dataset, network: Network):
        super().__init__()
        self.problem = problem
        # A method, not the network: that would be tracked with its optimizer, whose slots need Keras to be loaded.
        self.answer = network.predict
        # Tracked, so that the variables are saved with the graph; the Keras model would be saved in every detail.
        self.weights = network.keras_model.weights
        vocabularies = {
            name: statistics.categories(dataset.statistics[name]).ranked()
            for name in (*dataset.examples.categories, *dataset.examples.cells)
            if not isinstance(problem.columns.get(name), Image | Timestamp)
        }
        self.encoder = graph.Encoder(vocabularies, {**problem.columns, **problem.derived})
        columns = graph.signature_columns(problem)
        specs = {name: graph.served_spec(name, column) for name, column in columns.items()}
        self.signature = tf.function(self._predict, autograph=network.autograph, input_signature=[specs])

    def _predict(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        known = self.problem.columns
        read = {n: graph.moments(c) if isinstance(known[n], Timestamp) else c for n, c in raw.items()}
        taken = graph.with_parts(known, read)
        columns = {**taken, **graph.derive(self.problem, taken)}
        encoded = {n: self.encoder(n, c) if c.dtype == tf.string else c for n, c in columns.items()}
        return {"predictions": self.answer(encoded)}


def export(problem: Problem, dataset: Dataset, network: Network, directory: Path) -> None:
    """Write `saved_model/`, `schema.json` and `statistics.json` into the artifact's directory."""
    served = Served(problem, dataset, network)
    signature = served.signature.get_concrete_function()
    tf.saved_model.save(served, str(directory / "saved_model"), signatures={"serving_default": signature})
    columns = graph.signature_columns(problem)
    schema = {
        "name": problem.name,
        "head": problem.label.head,
        "label": problem.label.name,
        "classes": list(problem.label.classes),
        "columns": [{"name": n, "type": c.type, "required": c.required, **_shape(c)} for n, c in columns.items()],
        "ignored": [name for name in problem.columns if name not in columns],
        "derived": list(problem.derived),
    }
    (directory / "schema.json").write_text(json.dumps(schema, indent=1))
    told = {name for n, c in columns.items() for name in (n, *parts_of(n, c))} | {*problem.derived, problem.label.name}
    kept = {n: s for n, s in dataset.statistics.items() if n in told}
    (directory / "statistics.json").write_text(json.dumps(statistics.to_json(kept)))


def prove(problem: Problem, dataset: Dataset, expected: Mapping[str, Predictions], directory: Path) -> dict[str, Any]:
    """Answer every evaluation row from its raw columns by the SavedModel in `directory` and compare with `expected`,
    by split.

    Also writes `samples.json`: a few raw test rows with the trained network's own answers, and `predictions.json`: the
    statistics of all answers to test rows, with which a server compares its own; of several classes, of the likeliest's
    probability.

    Returns:
        `rows` compared, of which split (`splits`), how many were `left_out` (`RawColumns.told`), and the
        `max_difference` seen.

    Raises:
        RuntimeError: a row's answers differ by more than `TOLERANCE`.
    """
    signature = tf.saved_model.load(str(directory / "saved_model")).signatures["serving_default"]
    compared, left_out, difference, answered = dict.fromkeys(SPLITS, 0), 0, 0.0, NumberStatistics()
    for split in SPLITS:
        source = RawColumns(problem, dataset, split)
        trained = expected[split].again(block.rows for block in dataset.examples.blocks[split])
        for (raw, told), every in zip(source.blocks(), trained, strict=True):
            if split == "test":
                answered.merge(NumberStatistics.of(every.max(axis=1) if problem.label.classes else every))
            wanted = every[told]
            left_out += int((~told).sum())
            if not told.any():
                continue
            rows = {name: values[told] for name, values in raw.items()}
            answers = signature(**{name: tf.constant(values) for name, values in rows.items()})["predictions"].numpy()
            difference = max(difference, float(np.abs(answers - wanted).max()))
            if split == "test" and not compared[split]:
                _write_samples(rows, source.columns, wanted, directory)
            compared[split] += len(answers)
    if not difference <= tolerance(expected):
        raise RuntimeError(f"the exported model answers a row {difference} away from the trained network")
    if not all(compared.values()):
        raise RuntimeError(f"the exported model is proven on {compared} rows only, {left_out:,} were left out")
    (directory / "predictions.json").write_text(json.dumps(statistics.to_json({"predictions": answered})))
    return {"rows": sum(compared.values()), "splits": compared, "left_out": left_out, "max_difference": difference}


def slim_form(problem: Problem, dataset: Dataset, network: Network, allowed: float, directory: Path) -> dict[str, Any]:
    """Write `slim/` beside the SavedModel in `directory` and prove that it answers every evaluation row as that does,
    to `allowed`.

    Returns:
        The proof: `rows` compared, of which split (`splits`), the `max_difference` seen, the `tolerance` it is within,
        and the digests of both folders; or the `reason` why there is no slim form.
    """
    folder = directory / slim.FOLDER
    try:
        compile_slim(problem, network, folder)
    except CannotCompile as exc:
        return {"reason": str(exc)}
    signature = tf.saved_model.load(str(directory / "saved_model")).signatures["serving_default"]
    columns = graph.signature_columns(problem)
    model = slim.SlimModel(folder, list(columns))
    compared, difference = dict.fromkeys(SPLITS, 0), 0.0
    for split in SPLITS:
        for raw, _ in RawColumns(problem, dataset, split).blocks():
            wanted = signature(**{name: tf.constant(values) for name, values in raw.items()})["predictions"].numpy()
            answers = np.array(model.predict([_as_decoded(raw[n], columns[n]) for n in raw]))
            difference = max(difference, float(np.abs(answers - wanted).max()))
            compared[split] += len(answers)
    if not difference <= allowed:
        shutil.rmtree(folder)
        return {"reason": f"it answers a row {difference} away from the SavedModel"}
    files = file_digests(directory)
    digests = {name: folder_digest(files, name) for name in ("saved_model", slim.FOLDER)}
    proof = {"rows": sum(compared.values()), "splits": compared, "max_difference": difference, "tolerance": allowed}
    return {**proof, **digests}


def tolerance(expected: Mapping[str, Predictions]) -> float:
    """How far two forms of a model may differ on a row, given all answers by split."""
    return TOLERANCE * max(1.0, *(answers.largest for answers in expected.values()))


class RawColumns:
    """The raw columns that the served signature takes, back from the blocks of a split."""

    def __init__(self, problem: Problem, dataset: Dataset, split: str = "test"):
        self.split, self.columns = split, graph.signature_columns(problem)
        hashed = {part.column for feature in problem.features for part in parts(feature) if isinstance(part, Hashed)}
        exact = hashed | set(graph.columns_read(problem)[0])
        self.exact = [name for name in dataset.examples.categories if name in exact and name in self.columns]
        self.known: dict[str, Column] = {**problem.columns, **problem.derived}
        self.path, self.examples = dataset.path, dataset.examples
        self.words: dict[str, np.ndarray] = {}
        self.unseen: dict[str, dict[int, str]] = {}
        held = dataset.split_statistics(split)
        for name in (*dataset.examples.categories, *dataset.examples.cells):
            if isinstance(self.known[name], Image | Timestamp):
                continue
            training, found = map(statistics.categories, (dataset.statistics[name], held[name]))
            self.words[name] = np.array([*training.ranked(), ""], object)
            unseen = sorted(found.categories.keys() - training.categories.keys())
            codes = graph.unknown_codes(tf.constant(unseen, tf.string)).numpy()
            self.unseen[name] = dict(zip(codes.tolist(), unseen, strict=True))

    def blocks(self) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        """(The columns of each block in turn, as `read` gives them; `told` of the same rows.)"""
        for block in self.examples.blocks[self.split]:
            path = self.path / block.path
            yield self.read(path), self.told(path)

    def told(self, block: Path) -> np.ndarray:
        """bool of shape [rows]: false where the model tells apart by its text what the statistics let go, in a column
        of too many categories to keep: there `read` gives another text than the raw row has.
        """
        _, codes, _ = read_block(block, self.examples)
        told = np.ones(codes.shape[1], bool)
        for name in self.exact:
            code = codes[self.examples.categories.index(name)]
            told &= (code > UNKNOWN) | np.isin(code, np.fromiter(self.unseen[name], np.int32))
        return told

    def read(self, block: Path) -> dict[str, np.ndarray]:
        """float32 or text of shape [rows] for each column; missing is NaN or the empty string."""
        numbers, codes, _ = read_block(block, self.examples)
        raw: dict[str, np.ndarray] = dict(zip(self.examples.numbers, numbers, strict=True))
        several = len(self.examples.categories)
        for name, code in zip(self.examples.categories, codes[:several], strict=True):
            raw[name] = self._categories(name, code, UNSEEN)
        for name, count in self.examples.cells.items():
            cells, several = codes[several : several + count].T, several + count
            column = self.known[name]
            if isinstance(column, Timestamp):
                written = ("" if each is None else moments.text(each) for each in moments.from_cells(cells.T))
                raw[name] = np.array([*written], object)
            else:
                raw[name] = self._text(name, cells) if not isinstance(column, Image) else pictures.encode(cells, column)
        return {name: raw[name] for name in self.columns}

    def _categories(self, name: str, code: np.ndarray, unseen: str) -> np.ndarray:
        found = self.words[name][np.where(code < 0, len(self.words[name]) - 1, code)]
        for row in np.flatnonzero(code <= UNKNOWN):
            found[row] = self.unseen[name].get(int(code[row]), unseen)
        return found

    def _text(self, name: str, codes: np.ndarray) -> np.ndarray:
        """The tokens side by side, which are the text's tokens again."""
        tokens = self._categories(name, codes.ravel(), UNSEEN_TOKEN).reshape(codes.shape)
        return np.array([" ".join(row).rstrip() for row in tokens], object)


def _as_decoded(values: np.ndarray, column: Column) -> list[Any]:
    """A column of `RawColumns` as the server hands it to the slim form: moments as seconds since 1970."""
    if not isinstance(column, Timestamp):
        return values.tolist()
    return [moments.seconds(text) if text else None for text in values]


def _shape(column: Column) -> dict[str, Any]:
    """What a text, picture or timestamp is declared with beside what every column is."""
    common = {each.name for each in fields(Column)}
    return {each.name: getattr(column, each.name) for each in fields(column) if each.name not in common}


def _write_samples(
    raw: Mapping[str, np.ndarray], columns: Mapping[str, Column], expected: np.ndarray, directory: Path
) -> None:
    instances = []
    for row in range(min(SAMPLES, len(expected))):
        values = {name: _json_value(raw[name][row], column) for name, column in columns.items()}
        instances.append({name: value for name, value in values.items() if value is not None})
    predictions = expected[: len(instances)].tolist()
    (directory / "samples.json").write_text(json.dumps({"instances": instances, "predictions": predictions}, indent=1))


def _json_value(value: Any, column: Column) -> Any:
    if isinstance(column, Image):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(column, Category | Text | Timestamp):
        return value or None
    if np.isnan(value):
        return None
    return int(value) if column.type == "integer" else float(str(value))
