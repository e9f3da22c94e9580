"""Batch prediction: every row of raw files answered by a sealed model, by the Beam engine that prepares datasets.

    python -m penstock_trainer predict --model artifacts/models/<key> --raw 'new/*.csv' --keep id --output predictions

    files -> pieces -> record batches -> predictions, as Parquet

Every row is counted: predicted + dead letters.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from apache_beam.metrics.metric import Metrics

from penstock_trainer import artifacts, dataflow_jobs, files, parts, pictures, runners, sources
from penstock_trainer.beam_pipeline import METRIC, Progress, ReadPiece, keep_dead_letters, run_once
from penstock_trainer.errors import InputError
from penstock_trainer.preprocess import find_files, raw_manifest
from penstock_trainer.problem import Category, Column, Image, Integer, Number, Text, Timestamp
from penstock_trainer.stages import Stage, code_digest, write_lineage

TYPES: Mapping[str, type[Column]] = {each.type: each for each in (Number, Integer, Category, Text, Image, Timestamp)}
PREDICTION = "prediction"
SUM = "rows"
"""The scratch folder's file with the number of rows predicted, written when all are."""


class ReadRows(ReadPiece):
    """As `ReadPiece`, of given columns instead of a problem's."""

    def __init__(self, columns: Mapping[str, Column], header: Sequence[str], scratch: str):
        super().__init__("", scratch)
        self.columns, self.header = columns, header

    def setup(self) -> None:
        """The columns are here already."""


class Predict(beam.DoFn):
    """A batch of raw rows to a Parquet file of those columns that are kept and the model's answers; the rows in it.

    `saved_model` is a folder that the workers reach.
    """

    def __init__(self, saved_model: str, taken: Mapping[str, Column], kept: list[str], folder: str, aloud: bool):
        self.saved_model, self.taken, self.kept, self.folder, self.aloud = saved_model, taken, kept, folder, aloud

    def setup(self) -> None:
        with tempfile.TemporaryDirectory() as fetched:
            if self.saved_model.startswith(files.SCHEME):
                files.fetch_folder(self.saved_model, Path(fetched))
            # The module is kept: its tables and variables would go with it.
            self.module = tf.saved_model.load(
                fetched if self.saved_model.startswith(files.SCHEME) else self.saved_model
            )
        self.signature = self.module.signatures["serving_default"]
        self.rows, self.progress, self.counter = 0, Progress(), Metrics.counter(METRIC, METRIC)

    def process(self, element: Any) -> Iterator[Any]:
        name, table = element
        raw = {name: _as_served(table[name], column) for name, column in self.taken.items()}
        answers = self.signature(**{name: tf.constant(values) for name, values in raw.items()})["predictions"].numpy()
        # Of several classes, a row has a number for each.
        answer = pa.array(answers if answers.ndim == 1 else list(answers))
        kept = table.select(self.kept).append_column(PREDICTION, answer)
        with files.create_file(f"{self.folder}/{name}.parquet") as file:
            pq.write_table(kept, file)
        self.rows += table.num_rows
        self.counter.inc(table.num_rows)
        if self.aloud:
            self.progress.say(f"{self.rows:,} rows predicted")
        yield table.num_rows


@beam.ptransform_fn
def read_and_predict(pieces: Any, read: ReadRows, predict: Predict) -> Any:
    """Pieces to how many rows of each batch were predicted, and dead letters."""
    batches = pieces | "Read" >> beam.ParDo(read).with_outputs("dead_letters", main="good")
    return {"rows": batches.good | "Predict" >> beam.ParDo(predict), "dead_letters": batches.dead_letters}


def run_stage(
    model: Path,
    patterns: list[str],
    root: Path,
    keep: list[str] | None = None,
    processes: int | None = None,
    runner: str = "in-process",
    given: Sequence[str] = (),
) -> None:
    """Answer every row of the raw files that `patterns` name and seal the answers.

    `keep`: the input columns written beside each answer; None: those that the model reads, without pictures. `runner`
    is one of `runners.BEAM_NAMES`, `given` are Beam's own options for it.

    Raises:
        InputError: the model's seal or lineage does not hold, no file matches, a file lacks a column, or the runner's
            workers do not reach it.
    """
    chain = artifacts.verify_lineage(model)
    if "model" not in chain:
        raise InputError(f"{model} is no model")
    schema: dict[str, Any] = json.loads((model / "schema.json").read_text())
    taken = {column.pop("name"): TYPES[column.pop("type")](**column) for column in schema["columns"]}
    images = [name for name, column in taken.items() if isinstance(column, Image)]
    kept = list(dict.fromkeys(keep or (name for name in taken if name not in images)))
    if shown := [name for name in kept if name in images]:
        raise InputError(f"keep: {shown[0]!r} holds pictures, which are not written; keep a column that names the row")
    if PREDICTION in kept:
        raise InputError(f"keep: {PREDICTION!r} is the name of the answer's column; leave that input column out")
    columns = {**taken, **{name: Category() for name in kept if name not in taken}}
    # Files without a header line have the columns of those that the model was made of.
    header = tuple(chain["dataset"].parameters.get("header", ()))
    paths = find_files(patterns)
    runners.check_reach(runner, paths)
    for path in paths:
        sources.check_file(path, columns, header)
    raw = raw_manifest(paths)
    inputs = {"model": chain["model"].digest, "input": raw.digest}
    stage = Stage("predictions", root, inputs, {"keep": kept}, code_digest("predict", None))
    manifest = stage.finished()
    if manifest:
        stage.report(manifest, reused=True)
        return
    processes = processes or runners.processes_for(sum(files.size(path) for path in paths))
    with (
        stage.fresh_scratch(),
        dataflow_jobs.started(stage, runner, processes, given, SUM) as (scratch, options),
        artifacts.building(root, stage.kind, stage.key) as directory,
    ):
        counts = run(options, paths, model, Asked(taken, kept, columns, header), directory, scratch)
        print(", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()), flush=True)
        write_lineage(directory, {"model": chain["model"], "input": raw}, model)
        manifest = stage.seal(directory, counts=counts)
    stage.report(manifest, reused=False)


@dataclass(frozen=True)
class Asked:
    """Of raw files: the columns that the model has `taken`, those `kept` beside its answers, and all `columns` that are
    read; `header`, where the files have no line of their own for it.
    """

    taken: Mapping[str, Column]
    kept: list[str]
    columns: Mapping[str, Column]
    header: Sequence[str]


def run(
    options: list[str], paths: list[str], model: Path, asked: Asked, directory: Path, scratch: str
) -> dict[str, int]:
    """Run the pipeline into `directory` and return the counts of rows: `rows`, `predicted`, `dead_letter`.

    `scratch` is a folder that all workers reach and the caller removes. Where that is in the cloud, workers may be
    machines that reach neither `model` nor `directory`: the model is taken there, and what they write fetched from it.
    A job of that name that somebody launched before is waited for, and what it left is taken.
    """
    remote = scratch.startswith(files.SCHEME)
    made, saved_model = (
        (f"{scratch}/made", f"{scratch}/saved_model") if remote else (str(directory), f"{model}/saved_model")
    )
    (directory / "predictions").mkdir()
    read = ReadRows(asked.columns, asked.header, scratch)
    predict = Predict(saved_model, asked.taken, asked.kept, f"{made}/predictions", runners.is_in_process(options))

    def build(pipeline: beam.Pipeline) -> None:
        if remote:
            files.send_folder(model / "saved_model", saved_model)
        pieces = pipeline | "Files" >> beam.Create(paths) | "Cut" >> beam.FlatMap(sources.pieces, read.header)
        environments = runners.environments_for(options)
        answered = runners.spread(pieces, "pieces", lambda: read_and_predict(read, predict), environments)
        total = answered["rows"] | "Sum" >> beam.CombineGlobally(sum)
        _ = total | "Keep sum" >> beam.Map(_write, path=f"{scratch}/{SUM}")
        keep_dead_letters(answered["dead_letters"], made)

    run_once(options, scratch, SUM, build)
    if remote:
        files.fetch_folder(made, directory)
    with files.open_file(f"{scratch}/{SUM}") as file:
        predicted = int(file.read())
    with (directory / "dead_letters.jsonl").open() as file:
        dead = sum(1 for _ in file)
    return {"rows": predicted + dead, "predicted": predicted, "dead_letter": dead}


def _as_served(values: pa.ChunkedArray, column: Column) -> Any:
    """As the served signature takes them: text and encoded pictures, or float32."""
    if isinstance(column, Image):
        return pictures.encode(pictures.cells_of(values).T, column)
    return parts.as_served(values, column)


def _write(value: Any, path: str) -> None:
    with files.create_file(path) as file:
        file.write(str(value).encode())
