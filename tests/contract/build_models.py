"""Builds the sealed models that the contract tests serve: `python build_models.py DIR` writes DIR/<name>/ for each.

A process of its own: TensorFlow stays out of the tests' process.
"""

import base64
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from penstock_trainer import graph, moments, slim
from penstock_trainer.artifacts import Manifest, file_digests, folder_digest, seal
from penstock_trainer.examples import MISSING
from penstock_trainer.moments import DAY, seconds
from penstock_trainer.problem import Image, Text, Timestamp
from penstock_trainer.statistics import CategoryStatistics, ColumnStatistics, NumberStatistics, TextStatistics, to_json

FLIGHT_COLUMNS = [
    {"name": "carrier", "type": "category", "required": True},
    {"name": "origin", "type": "category", "required": True},
    {"name": "dest", "type": "category", "required": True},
    {"name": "month", "type": "integer", "required": True},
    {"name": "distance", "type": "number", "required": True},
    {"name": "temp", "type": "number", "required": False},
    {"name": "seats", "type": "integer", "required": False},
    {"name": "engine", "type": "category", "required": False},
]
FLIGHT = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "month": 1, "distance": 1400.0, "temp": 39.02}
FLIGHTS = [
    {**FLIGHT, "seats": 149, "engine": "Turbo-fan", "arr_delay": 11.0},
    {**FLIGHT, "carrier": "B6", "month": 7, "distance": 94, "temp": None},
    {**FLIGHT, "dest": "XXX", "seats": None},
]


PICTURE = tf.io.encode_png(tf.constant([[[0], [85]], [[170], [255]]], tf.uint8)).numpy()
WORDS = ["UA", "B6", "EWR", "IAH", "Turbo-fan"]


class Flights(tf.Module):
    """A logistic regression with a look-up table, as an exported model has: raw columns in, probability out."""

    def __init__(self) -> None:
        super().__init__()
        self.values = tf.constant([0.1, -0.7, 0.3, 0.2, 0.4, -0.1])
        initializer = tf.lookup.KeyValueTensorInitializer(tf.constant([*WORDS, ""]), self.values)
        self.table = tf.lookup.StaticHashTable(initializer, 0.0)
        self.weights = tf.Variable(tf.constant([1.0, 0.5, -0.8, 0.9, 0.6, -0.4, 0.2, 1.1]))

    @tf.function
    def __call__(self, **columns: tf.Tensor) -> dict[str, tf.Tensor]:
        scales = {"month": 12.0, "distance": 2500.0, "temp": 100.0, "seats": 400.0}
        inputs = []
        for column in FLIGHT_COLUMNS:
            values = columns[column["name"]]
            if column["type"] == "category":
                inputs.append(self.table.lookup(values) if values.dtype == tf.string else self.coded(values))
            else:
                inputs.append(tf.where(tf.math.is_nan(values), 0.0, values / scales[column["name"]]))
        return {"predictions": tf.sigmoid(tf.linalg.matvec(tf.stack(inputs, axis=1), self.weights))}

    def coded(self, codes: tf.Tensor) -> tf.Tensor:
        """What the table holds, by a code of `WORDS`."""
        known = tf.gather(self.values, tf.maximum(codes, 0))
        return tf.where(codes >= 0, known, tf.where(codes == MISSING, self.values[-1], 0.0))

    @tf.function(input_signature=[tf.TensorSpec([4, None], tf.float32), tf.TensorSpec([4, None], tf.int32)])
    def behind_look_ups(self, numbers: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        """The graph of the slim form."""
        numbers_, codes_ = iter(tf.unstack(numbers)), iter(tf.unstack(codes))
        columns = {c["name"]: next(codes_ if c["type"] == "category" else numbers_) for c in FLIGHT_COLUMNS}
        return self(**columns)["predictions"]


class HalfPlus(tf.Module):
    """With three, the model of TensorFlow Serving's REST documentation."""

    def __init__(self, more: float) -> None:
        super().__init__()
        self.more = tf.Variable(tf.constant(more))

    @tf.function
    def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"predictions": x / 2.0 + self.more}

    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.float32)])
    def behind_look_ups(self, numbers: tf.Tensor) -> tf.Tensor:
        """The graph of the slim form."""
        return self(numbers[0])["predictions"]


class Kinds(tf.Module):
    """Probabilities of three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(tf.constant([[1.0, 0.0, -1.0]]))

    @tf.function
    def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"predictions": tf.nn.softmax(x[:, None] @ self.weights)}

    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.float32), tf.TensorSpec([0, None], tf.int32)])
    def behind_look_ups(self, numbers: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        """The graph of the slim form."""
        return self(numbers[0])["predictions"]


VISITS = [
    {"name": "at", "type": "timestamp", "required": True, "parts": ["hour", "day_of_week"]},
    {"name": "before", "type": "timestamp", "required": False, "parts": ["year"]},
]
VISIT = {"at": "2013-06-01T12:30:00Z", "before": "2012-02-29"}


class Visits(tf.Module):
    """Parts of timestamps, as the trainer's graph takes them: the hour, and 100 for each year since the one before."""

    def of_cells(self, at: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        """Each is int32 of shape [rows, 2]."""
        declared = {"at": Timestamp(parts=("hour", "year")), "before": Timestamp(parts=("year",))}
        taken = graph.with_parts(declared, {"at": at, "before": before})
        years = taken["at_year"] - taken["before_year"]
        return taken["at_hour"] + 100.0 * tf.where(tf.math.is_nan(years), 0.0, years)

    @tf.function
    def __call__(self, at: tf.Tensor, before: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"predictions": self.of_cells(graph.moments(at), graph.moments(before))}

    @tf.function(input_signature=[tf.TensorSpec([4, None], tf.int32)])
    def behind_look_ups(self, codes: tf.Tensor) -> tf.Tensor:
        """The graph of the slim form."""
        return self.of_cells(tf.transpose(codes[:2]), tf.transpose(codes[2:]))


class Album(tf.Module):
    """Pictures and texts, taken apart as the trainer's graph does: mean brightness and tenths of the tokens; and a
    hundred for each hour of the day.
    """

    @tf.function
    def __call__(self, scan: tf.Tensor, remark: tf.Tensor, taken: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.cast(graph.pixels(scan, Image(height=2, width=2, channels=1)), tf.float32)
        tokens = graph.tokens(remark, Text(tokens=5)).row_lengths()
        second = tf.maximum(graph.moments(taken)[:, 1], 0)
        hundreds = tf.cast(100 * (second // 3600), tf.float32)
        return {"predictions": tf.reduce_mean(pixels, axis=1) / 255.0 + tf.cast(tokens, tf.float32) / 10.0 + hundreds}


def build(directory: Path, module: Any, schema: dict[str, Any], samples: list[dict[str, Any]], slim_form: bool) -> None:
    """Export `module` with the columns of `schema`, and seal it with the chain of manifests that a trainer leaves."""
    types = {"number": tf.float32, "integer": tf.float32}
    columns = {column["name"]: types.get(column["type"], tf.string) for column in schema["columns"]}
    specs = {name: tf.TensorSpec([None], dtype, name=name) for name, dtype in columns.items()}
    function = module.__call__.get_concrete_function(**specs)
    tf.saved_model.save(module, str(directory / "saved_model"), signatures={"serving_default": function})

    missing: dict[Any, Any] = {tf.string: "", tf.float32: float("nan")}
    values = {n: [missing[t] if row.get(n) is None else _raw(row[n]) for row in samples] for n, t in columns.items()}
    tensors = {name: tf.constant(values[name], dtype) for name, dtype in columns.items()}
    answers = module(**tensors)["predictions"].numpy().tolist()
    write(directory / "schema.json", schema)
    write(directory / "samples.json", {"instances": samples, "predictions": answers})
    statistics, answered = training_statistics(schema, module)
    write(directory / "statistics.json", to_json(statistics))
    write(directory / "predictions.json", to_json({"predictions": answered}))
    proof = (
        add_slim_form(
            module, directory / slim.FOLDER, {c["name"]: c["type"] for c in schema["columns"]}, values, answers
        )
        if slim_form
        else {}
    )

    raw = Manifest(kind="raw", files={}, inputs={}, code="sha256:0", counts={"rows": 1000})
    counts = {"rows": 1000, "training": 700, "validation": 100, "test": 3, "unlabelled": 187, "dead_letter": 10}
    dataset = Manifest(kind="dataset", files={}, inputs={"raw": raw.digest}, code="sha256:0", counts=counts)
    study = Manifest(kind="study", files={}, inputs={"dataset": dataset.digest}, code="sha256:0", counts={"trials": 7})
    for manifest in (raw, dataset, study):
        write(directory / "lineage" / f"{manifest.kind}.json", asdict(manifest))
    metrics: dict[str, Any] = {
        "validation": {"auc": 0.7102},
        "test": {"auc": 0.7034, "log_loss": 0.512, "accuracy": 0.771},
    }
    if proof:
        files = file_digests(directory)
        metrics["slim"] = proof | {name: folder_digest(files, name) for name in ("saved_model", slim.FOLDER)}
    inputs = {"dataset": dataset.digest, "study": study.digest}
    seal(directory, kind="model", inputs=inputs, code="sha256:0", counts={"training": 700, "test": 3}, metrics=metrics)


def _raw(value: Any) -> Any:
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def add_slim_form(
    module: Any, folder: Path, types: dict[str, str], values: dict[str, Any], answers: list[Any]
) -> dict[str, Any]:
    """Write the slim form and compare it on the sample rows, which stand for the test split here."""
    concrete = module.behind_look_ups.get_concrete_function()
    folder.mkdir()
    (folder / slim.GRAPH).write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], None).convert())
    categories = {name: {"words": WORDS, "hashed": False} for name, kind in types.items() if kind == "category"}
    timestamps = [name for name, kind in types.items() if kind == "timestamp"]
    write(folder / slim.LOOKUPS, {"columns": list(values), "categories": categories, "timestamps": timestamps})
    decoded = [[seconds(text) for text in values[n]] if n in timestamps else values[n] for n in values]
    found = slim.SlimModel(folder, list(values)).predict(decoded)
    difference = float(np.abs(np.array(found) - np.array(answers)).max())
    assert difference <= 1e-6
    return {"rows": len(answers), "max_difference": difference, "tolerance": 1e-6}


def training_statistics(schema: dict[str, Any], module: Any) -> tuple[dict[str, ColumnStatistics], NumberStatistics]:
    """Of 4,000 rows: numbers spread evenly over 0 to 100 (months: 1 to 12), categories evenly over three words."""
    random = np.random.default_rng(2013)
    found: dict[str, ColumnStatistics] = {}
    raw: dict[str, tf.Tensor] = {}
    for column in schema["columns"]:
        name = column["name"]
        if column["type"] in ("text", "image"):
            found[name] = TextStatistics(4000) if column["type"] == "text" else NumberStatistics.of(np.ones(9, "f4"))
            raw[name] = tf.fill([4000], "")
        elif column["type"] == "timestamp":
            days = random.integers(15_000, 15_900, 4000)
            raw[name] = tf.constant(np.datetime_as_string(days.astype("datetime64[D]")))
            cells = np.stack([days, random.integers(0, DAY, 4000)]).astype(np.int32)
            parts = moments.parts(cells, column["parts"])
            found |= {f"{name}_{part}": NumberStatistics.of(values) for part, values in parts.items()}
        elif column["type"] == "category":
            words = random.choice(["UA", "B6", "EWR"], 4000)
            distinct, counts = np.unique(words, return_counts=True)
            found[name] = CategoryStatistics.of(distinct.tolist(), counts.tolist(), 0)
            raw[name] = tf.constant(words)
        else:
            numbers = random.integers(1, 13, 4000) if name == "month" else random.uniform(0, 100, 4000)
            found[name] = NumberStatistics.of(numbers.astype(np.float32))
            raw[name] = tf.constant(numbers, tf.float32)
    answers = module(**raw)["predictions"].numpy()
    return found, NumberStatistics.of(answers.max(axis=1) if schema.get("classes") else answers)


def write(path: Path, value: Any) -> None:
    """`value` as the JSON file `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def main(root: Path) -> None:
    """Build every model below `root`."""
    ignored = ["arr_delay", "tailnum", "flight"]
    flights = {"name": "flights", "head": "binary", "label": "late", "columns": FLIGHT_COLUMNS, "ignored": ignored}
    build(root / "flights", Flights(), flights, FLIGHTS, slim_form=True)
    x = [{"name": "x", "type": "number", "required": True}]
    half = {"name": "half_plus_three", "head": "regression", "label": "y", "columns": x, "ignored": []}
    rows = [{"x": 1.0}, {"x": 2.0}, {"x": 5.0}]
    build(root / "half_plus_three", HalfPlus(3.0), half, rows, slim_form=True)
    build(root / "half_plus_four", HalfPlus(4.0), half, rows, slim_form=True)
    build(root / "without_slim", HalfPlus(4.0), half, rows, slim_form=False)
    kinds = {**half, "name": "kinds", "head": "multiclass", "classes": ["elm", "fir", "oak"]}
    build(root / "kinds", Kinds(), kinds, rows, slim_form=True)
    seen = [
        {"name": "scan", "type": "image", "required": True},
        {"name": "remark", "type": "text", "required": False},
        {"name": "taken", "type": "timestamp", "required": False, "parts": ["hour"]},
    ]
    album = {"name": "album", "head": "regression", "label": "y", "columns": seen, "ignored": []}
    page = [{"scan": {"b64": base64.b64encode(PICTURE).decode()}, "remark": "A b."}]
    build(root / "album", Album(), album, page, slim_form=False)
    visits = {"name": "visits", "head": "regression", "label": "y", "columns": VISITS, "ignored": []}
    build(root / "visits", Visits(), visits, [VISIT], slim_form=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
