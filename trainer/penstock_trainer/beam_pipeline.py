"""The Beam pipeline of preprocessing: raw files to statistics and shuffled examples.

    files -> pieces -> record batches -> derive, label, split -+-> statistics, combined over all machines
                                                               +-> parts: prepared batches, as files
    parts, grouped at random -> shuffled, categories to codes -> blocks

Elements are Arrow record batches or names of files, never rows, and no row passes a GroupByKey: what a machine holds
at a time is one batch, or one group of parts. Every row is counted: training + validation + test + unlabelled + dead
letters.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions at import.)

import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from threading import Event, Thread
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState
from apache_beam.transforms.window import GlobalWindows

from penstock_trainer import artifacts, dataflow_jobs, files, graph, parts, pictures, runners, sources, statistics
from penstock_trainer.errors import InputError
from penstock_trainer.examples import INDEX, MISSING, Block, Examples, write_block
from penstock_trainer.labelled import Comoment, GroupMeans
from penstock_trainer.moments import CELLS
from penstock_trainer.problem import SPLITS, Category, Column, Image, Label, Problem, Text, Timestamp, load_problem

BLOCK_ROWS = 8192
BLOCK_CELLS = 2**22  # 16 MiB of tokens and pixels
BLOCKS_A_GROUP = 16
METRIC = "rows"
# A worker of another process tells its error as text.
TOLD = re.compile(r"^penstock_trainer\.errors\.InputError: (.*)$", re.MULTILINE)
ASKED_SECONDS = 2
UNLABELLED = "unlabelled"
# Statistics besides those of the splits, of the training rows: those whose binary label is 1, those of each class, and
# of each number and category together with a regression's label.
POSITIVE, OF_CLASS, WITH_LABEL = "positive", statistics.OF_CLASS, "with_label"
CLASSES = 32  # a label of more has no statistics by class
CLASS_CATEGORIES = 1000  # of each class
LAST = f"made/{INDEX}"
"""The scratch folder's file by which what a job left there is known to be whole."""
COUNTS = ("rows", *SPLITS, UNLABELLED, "dead_letter")


class ReadPiece(beam.DoFn):
    """A piece of a file to its record batches; dead letters go to a file, their number on the side."""

    def __init__(self, reference: str, scratch: str):
        self.reference, self.scratch = reference, scratch

    def setup(self) -> None:
        problem = load_problem(self.reference)
        self.columns, self.header = problem.columns, problem.header

    def process(self, element: Any) -> Iterator[Any]:
        for number, (table, bad) in enumerate(sources.read_piece(element, self.columns, self.header)):
            name = f"{_name(element)}-{number:05d}"
            yield name, table.combine_chunks()
            if bad:
                lines = "".join(json.dumps(asdict(letter)) + "\n" for letter in bad)
                path = f"{self.scratch}/{name}.dead_letters.jsonl"
                _write(path, lines)
                yield beam.pvalue.TaggedOutput("dead_letters", path)


def _name(piece: Any) -> str:
    """A name for what is made of a piece: its file's, made unique by the folder's, and where it begins."""
    folder = artifacts.digest_of(piece.path.rpartition("/")[0])[7:15]
    return f"{Path(piece.path).name}-{folder}-{piece.start:012d}"


class Prepare(beam.DoFn):
    """A batch of raw rows to parts by split, with derived columns and the label; statistics of all columns on the
    side.
    """

    def __init__(self, reference: str, scratch: str, aloud: bool):
        self.reference, self.scratch, self.aloud = reference, scratch, aloud

    def setup(self) -> None:
        self.problem = load_problem(self.reference)
        self.rows = 0
        self.counter = Metrics.counter(METRIC, METRIC)
        self.progress = Progress()
        self.boundaries = self.problem.split.seconds()
        derive_reads, label_reads = graph.columns_read(self.problem)
        moments = {n for n, c in self.problem.values.items() if isinstance(c, Timestamp)}
        reads = {n for n in (*derive_reads, *label_reads) if n in self.problem.columns}
        self.reads, self.label_reads = reads | moments, label_reads

        @tf.function(
            autograph=False,
            input_signature=[{n: graph.column_spec(n, self.problem.columns[n]) for n in sorted(self.reads)}],
        )
        def compute(columns: graph.Tensors) -> tuple[graph.Tensors, graph.Tensors, tf.Tensor]:
            taken = graph.with_parts(self.problem.columns, columns)
            label = graph.label(self.problem, taken)
            made = {name: tensor for name, tensor in taken.items() if name not in columns}
            return made, graph.derive(self.problem, taken), label

        self.compute = compute

    def start_bundle(self) -> None:
        self.statistics: dict[str, statistics.Statistics] = {}

    def process(self, element: Any) -> Iterator[Any]:
        name, table = element
        taken = {n: c for n, c in self.problem.columns.items() if n in self.reads or n in self.problem.inputs}
        raw = {
            n: parts.to_numpy(table[n], c)
            for n, c in taken.items()
            if not isinstance(c, Image) and (n in self.reads or not isinstance(c, Category))
        }
        made, derived, label = self.compute({n: tf.constant(raw[n]) for n in self.reads})
        raw |= {n: part.numpy() for n, part in made.items()}
        label = label.numpy()
        for column in self.label_reads:
            label[parts.is_missing(raw[column])] = np.nan
        self._check_label(label, raw)
        columns = {n: self._prepared(n, c, table, raw.get(n)) for n, c in self.problem.inputs.items()}
        for n, v in derived.items():
            column = self.problem.derived[n]
            if isinstance(column, Text):
                columns[n] = parts.to_tokens(v, column)
            else:
                columns[n] = parts.to_dictionary(v.numpy()) if isinstance(column, Category) else pa.array(v.numpy())
        prepared = pa.table({**columns, "": pa.array(label)})
        splits = self._splits(table[self.problem.split.column], label)
        for number, split in enumerate((*SPLITS, UNLABELLED)):
            chosen = splits == number
            rows = prepared if chosen.all() else prepared.filter(pa.array(chosen))
            if rows.num_rows:
                self._count(split, rows)
                path = f"{self.scratch}/{name}-{split}.arrow"
                if split == "training":
                    self._count_by_label(rows)
                if split != UNLABELLED:
                    parts.write_part(path, rows)
                    yield parts.Part(split, path, rows.num_rows)
        self.rows += table.num_rows
        self.counter.inc(table.num_rows)
        if self.aloud:
            self.progress.say(f"{self.rows:,} rows read")

    def finish_bundle(self) -> Iterator[Any]:
        for found in self.statistics.items():
            yield beam.pvalue.TaggedOutput("statistics", GlobalWindows.windowed_value(dict([found])))

    def _prepared(self, name: str, column: Column, table: pa.Table, raw: Any) -> Any:
        """A raw column as parts hold it; `raw` is what the graph would take."""
        if isinstance(column, Text):
            return parts.to_tokens(tf.constant(raw), column)
        if isinstance(column, Timestamp):
            return pa.FixedSizeListArray.from_arrays(pa.array(raw.ravel()), CELLS)
        if isinstance(column, Image):
            return table[name]
        return table[name].dictionary_encode() if isinstance(column, Category) else pa.array(raw)

    def _count_by_label(self, rows: pa.Table) -> None:
        head, classes = self.problem.label.head, self.problem.label.classes
        if head == "binary":
            self._count(POSITIVE, rows.filter(pc.greater(rows[""], 0.5)))
        elif head == "regression":
            self._count_with_label(rows)
        elif len(classes) <= CLASSES:
            for place in range(len(classes)):
                self._count(f"{OF_CLASS}{place}", rows.filter(pc.equal(rows[""], place)))

    def _count_with_label(self, rows: pa.Table) -> None:
        label = rows[""].to_numpy()
        numbers, categories, _ = column_order(self.problem)
        found: Any = {name: Comoment.of(rows[name].to_numpy(), label) for name in numbers}
        for name in categories:
            values = rows[name].combine_chunks()
            codes = values.indices.fill_null(-1).to_numpy()
            found[name] = GroupMeans.of(values.dictionary.to_pylist(), codes, label)
        merge_into(self.statistics, WITH_LABEL, found)

    def _check_label(self, label: np.ndarray, raw: Mapping[str, np.ndarray]) -> None:
        """Raise InputError where a label is none that its head takes."""
        declared = self.problem.label
        for row in np.flatnonzero(~np.isnan(label) & ~_is_label(label, declared)):
            values = ", ".join(f"{name} = {raw[name][row]}" for name in self.label_reads)
            raise InputError(f"label {declared.name!r}: in a row with {values} it is {_said(label[row], declared)}")

    def _splits(self, moments: pa.ChunkedArray, label: np.ndarray) -> np.ndarray:
        """int64 of shape [rows]: the place of each row's split among training, validation, test, unlabelled."""
        seconds = moments.cast(pa.int64()).fill_null(0).to_numpy()
        split = np.digitize(seconds, self.boundaries)
        return np.where(np.isnan(label) | moments.is_null().to_numpy(), len(SPLITS), split)

    def _count(self, split: str, rows: pa.Table) -> None:
        found: statistics.Statistics = {}
        for name, column in {**self.problem.inputs, **self.problem.derived}.items():
            values = rows[name].combine_chunks()
            if isinstance(column, Category):
                found[name] = _categories(values, values.null_count)
            elif isinstance(column, Text):
                if split.startswith(OF_CLASS):
                    continue  # nothing is found from them
                items = values.flatten()
                missing = pc.is_null(items).to_numpy(zero_copy_only=False)[:: column.tokens].sum()
                tokens = _categories(items, 0)
                found[name] = statistics.TextStatistics(len(values) - int(missing), int(missing), tokens)
            elif isinstance(column, Image):
                found[name] = statistics.NumberStatistics.of(pictures.brightness(values))
            elif isinstance(column, Timestamp):
                day, second = values.flatten().to_numpy().reshape(-1, CELLS).T
                days = np.where(second == MISSING, np.nan, day).astype(np.float32)
                found[name] = statistics.NumberStatistics.of(days, count_distinct=True)
            else:
                numbers = values.to_numpy(zero_copy_only=False)
                found[name] = statistics.NumberStatistics.of(numbers, count_distinct=True)
        label = rows[""].combine_chunks().to_numpy()
        found[self.problem.label.name] = statistics.NumberStatistics.of(label, count_distinct=True)
        merge_into(self.statistics, split, found)


def merge_into(every: dict[str, statistics.Statistics], split: str, found: statistics.Statistics) -> None:
    """Take the statistics `found` of a split's rows into those of every split; of a class, few categories are kept."""
    every[split] = statistics.merge(every.get(split, {}), found)
    if split.startswith(OF_CLASS):
        for column in every[split].values():
            if isinstance(column, statistics.CategoryStatistics):
                column.bound(CLASS_CATEGORIES)


def _is_label(label: np.ndarray, declared: Label) -> np.ndarray:
    """bool of shape [rows]: whether the head takes the label; what is missing aside."""
    if declared.head == "regression":
        return np.isfinite(label)
    return np.isin(label, np.arange(len(declared.classes) or 2))


def _said(label: float, declared: Label) -> str:
    """What is wrong with a label."""
    if declared.head == "multiclass":
        return f"none of its classes ({', '.join(declared.classes)}), nor a place among them, counted from 0"
    if declared.head == "binary":
        return f"{label:g}; head 'binary' takes 0 and 1, and NaN for a row without a label"
    return f"{label:g}; head 'regression' takes finite numbers, and NaN for a row without a label"


def _categories(values: pa.DictionaryArray, missing: int) -> statistics.CategoryStatistics:
    counts = np.bincount(values.indices.drop_null().to_numpy(), minlength=len(values.dictionary))
    occurring = np.flatnonzero(counts)
    words = values.dictionary.take(pa.array(occurring)).to_pylist()
    return statistics.CategoryStatistics.of(words, counts[occurring], missing)


class MergeStatistics(beam.CombineFn):
    """Statistics by split, of all batches."""

    def create_accumulator(self) -> dict[str, statistics.Statistics]:
        return {}

    def add_input(self, mutable_accumulator: Any, element: Any) -> Any:
        for split, found in element.items():
            merge_into(mutable_accumulator, split, found)
        return mutable_accumulator

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged = self.add_input(merged, accumulator)
        return merged

    def extract_output(self, accumulator: Any) -> Any:
        return accumulator


class WriteBlocks(beam.DoFn):
    """A group of parts of one split to shuffled blocks: the rows of many places of the table stand side by side."""

    def __init__(self, reference: str, directory: str):
        self.reference, self.directory = reference, directory

    def setup(self) -> None:
        self.problem = load_problem(self.reference)
        self._ranks: dict[str, dict[str, int]] = {}

    def ranks(self, name: str, found: dict[str, statistics.Statistics]) -> dict[str, int]:
        """The rank of each category, or of each token, among the training rows."""
        if name not in self._ranks:
            training = found.get("training", {})
            column = statistics.categories(training[name]) if name in training else statistics.CategoryStatistics()
            self._ranks[name] = {word: rank for rank, word in enumerate(column.ranked())}
        return self._ranks[name]

    def process(self, element: Any, found: Any) -> Iterator[Any]:
        number, group = element
        split = group[0].split
        table = pa.concat_tables([parts.read_part(part.path) for part in group])
        order = np.random.default_rng(number).permutation(table.num_rows)
        numbers, categories, cells = column_order(self.problem)
        values = np.empty((len(numbers), table.num_rows), np.float32)
        for place, name in enumerate(numbers):
            values[place] = table[name].to_numpy()[order]
        codes = np.empty((len(categories) + sum(cells.values()), table.num_rows), np.int32)
        for place, name in enumerate(categories):
            codes[place] = parts.codes_of(table[name], self.ranks(name, found))[order]
        place = len(categories)
        for name, count in cells.items():
            column = self.problem.columns.get(name)
            if isinstance(column, Timestamp):
                several = parts.cells_of(table[name])
            elif isinstance(column, Image):
                several = pictures.cells_of(table[name])
            else:
                several = parts.token_codes_of(table[name], self.ranks(name, found))
            codes[place : place + count] = several[:, order]
            place += count
        label = table[""].to_numpy()[order]
        step = block_rows(self.problem)
        for start in range(0, table.num_rows, step):
            rows = slice(start, start + step)
            path = f"examples/{split}/{number:05d}-{start // step:03d}.block"
            with files.create_file(f"{self.directory}/{path}") as file:
                write_block(file, values[:, rows], codes[:, rows], label[rows])
            yield split, Block(path, len(label[rows]))


def run(
    problem: Problem, reference: str, paths: list[str], directory: Path, scratch: str, options: list[str]
) -> dict[str, int]:
    """Run the pipeline over the raw files `paths` into `directory` and return the counts of rows: `COUNTS`.

    `reference` is how workers load `problem`; `options` are Beam's own (`runners.beam_options`); `scratch` is a folder
    that all workers reach and the caller removes. Where that is in the cloud, workers may be machines that do not reach
    `directory`: they write into the cloud too, and it is fetched in the end. A job of that name that somebody launched
    before is waited for, and what it left is taken.
    """
    remote = scratch.startswith(files.SCHEME)
    made = f"{scratch}/made" if remote else str(directory)
    for split in SPLITS:
        (directory / "examples" / split).mkdir(parents=True)
    run_once(options, scratch, LAST, lambda each: _build(each, problem, reference, paths, made, scratch, options))
    if remote:
        files.fetch_folder(made, directory)
    return _counts(directory, problem)


@beam.ptransform_fn
def cut(files: Any, header: list[str]) -> Any:
    """Files, with the names of their columns where they have no line of their own for them, to pieces."""
    return {"pieces": files | "Cut" >> beam.FlatMap(sources.pieces, header)}


@beam.ptransform_fn
def read_and_prepare(pieces: Any, reference: str, scratch: str, aloud: bool) -> Any:
    """Pieces to parts, statistics and dead letters."""
    read = pieces | "Read" >> beam.ParDo(ReadPiece(reference, scratch)).with_outputs("dead_letters", main="batches")
    prepared = read.batches | "Prepare" >> beam.ParDo(Prepare(reference, scratch, aloud)).with_outputs(
        "statistics", main="parts"
    )
    return {"parts": prepared.parts, "statistics": prepared.statistics, "dead_letters": read.dead_letters}


@beam.ptransform_fn
def write_blocks(groups: Any, reference: str, made: str, found: Any) -> Any:
    """Groups of parts to blocks."""
    return {"blocks": groups | "Write" >> beam.ParDo(WriteBlocks(reference, made), beam.pvalue.AsSingleton(found))}


def _build(
    pipeline: beam.Pipeline,
    problem: Problem,
    reference: str,
    paths: list[str],
    made: str,
    scratch: str,
    options: list[str],
) -> None:
    environments, aloud = runners.environments_for(options), runners.is_in_process(options)
    raw = pipeline | "Files" >> beam.Create(paths)
    pieces = runners.spread(raw, "files", lambda: cut(list(problem.header)), environments)["pieces"]
    read = runners.spread(pieces, "pieces", lambda: read_and_prepare(reference, scratch, aloud), environments)
    found = read["statistics"] | "Merge statistics" >> beam.CombineGlobally(MergeStatistics())
    groups = (
        read["parts"]
        | "All parts" >> beam.combiners.ToList()
        | "Group" >> beam.FlatMap(group_parts, BLOCKS_A_GROUP * block_rows(problem))
    )
    written = runners.spread(groups, "groups", lambda: write_blocks(reference, made, found), environments)
    _ = (
        written["blocks"]
        | "All blocks" >> beam.combiners.ToList()
        | "Index" >> beam.Map(_write_index, problem=reference, directory=made)
    )
    _ = found | "Write statistics" >> beam.Map(_write_statistics, directory=made)
    keep_dead_letters(read["dead_letters"], made)


def keep_dead_letters(paths: Any, directory: str) -> None:
    """Write one file of all dead letters, given those that `ReadPiece` has written; a step of a pipeline."""
    _ = (
        paths
        | "All dead letters" >> beam.combiners.ToList()
        | "Keep" >> beam.Map(_write_dead_letters, directory=directory)
    )


def column_order(problem: Problem) -> tuple[list[str], list[str], dict[str, int]]:
    """(number columns, category columns, those of several cells with how many) in the order in which blocks hold
    them.
    """
    known = {**problem.inputs, **problem.derived}
    categories = [name for name, column in known.items() if isinstance(column, Category)]
    cells = {name: _cells(column) for name, column in known.items() if isinstance(column, Text | Image | Timestamp)}
    return [name for name in known if name not in categories and name not in cells], categories, cells


def _cells(column: Text | Image | Timestamp) -> int:
    if isinstance(column, Timestamp):
        return CELLS
    return column.tokens if isinstance(column, Text) else -(-column.bytes // 4)


def block_rows(problem: Problem) -> int:
    """How many rows a block holds at most: fewer where pictures make them large."""
    return max(1, min(BLOCK_ROWS, BLOCK_CELLS // (1 + sum(column_order(problem)[2].values()))))


def group_parts(found: Any, rows: int) -> Iterator[Any]:
    """Parts of one split in random order, as many to a group as make `rows`; (number of the group, parts)."""
    number = 0
    for split in SPLITS:
        chosen = sorted((part for part in found if part.split == split), key=lambda part: part.path)
        random.Random(split).shuffle(chosen)
        group: list[parts.Part] = []
        for part in chosen:
            group.append(part)
            if sum(p.rows for p in group) >= rows or part is chosen[-1]:
                yield number, group
                number, group = number + 1, []


def run_once(options: list[str], scratch: str, last: str, build: Callable[[beam.Pipeline], None]) -> None:
    """Runs the pipeline that `build` makes to its end: `waited`.

    A job of the name in `options` that somebody launched before is waited for instead, and what it left in the folder
    `scratch` is taken, if its file `last` is there.
    """
    remote = scratch.startswith(files.SCHEME)
    known = dataflow_jobs.found(options) if remote else None
    if known and (known.active or dataflow_jobs.is_whole(known, f"{scratch}/{last}")):
        print(f"Dataflow job {known.result.job_id()} is {known.result.state}: it is gone on with", flush=True)
        waited(known.result)
        return
    if remote:
        # What a job that failed has left is no part of this one's output.
        files.delete_folder(scratch)
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    build(pipeline)
    waited(pipeline.run())


def waited(result: Any) -> None:
    """Waits for a run to end, and says how many rows it has read so far and in the end.

    Raises:
        InputError: a worker raised it.
        RuntimeError: it failed or was cancelled.
    """
    ended = Event()

    def watch() -> None:
        said, going = 0, True
        while going:
            going = not (PipelineState.is_terminal(result.state) or ended.wait(ASKED_SECONDS))
            rows = _counted(result) if going or result.state == PipelineState.DONE else 0
            if rows > said:
                print(f"{rows:,} rows read", flush=True)
                said = rows

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        result.wait_until_finish()
    except Exception as exc:  # each runner has a class of its own
        if said := TOLD.search(str(exc)):
            raise InputError(said[1]) from exc
        raise
    finally:
        ended.set()
        watcher.join()
    if result.state != PipelineState.DONE:
        raise RuntimeError(f"the pipeline ended as {result.state}")


def _counted(result: Any) -> int:
    """The rows that a runner says were read so far: the committed ones, or where it commits none, the attempted."""
    if hasattr(result, "_metrics"):
        result._metrics = None  # a portable runner's keeps what it was told at first
    metrics = result.metrics()
    if metrics is None:  # somebody else launched it
        return 0
    found = metrics.query(MetricsFilter().with_name(METRIC))["counters"]
    return sum(counter.committed or counter.attempted or 0 for counter in found)


class Progress:
    """Lines for a person who watches: at most one a second."""

    def __init__(self) -> None:
        self.last = 0.0

    def say(self, text: str) -> None:
        """Print `text`, unless something was printed within the last second."""
        now = time.monotonic()
        if now - self.last >= 1:
            self.last = now
            print(text, flush=True)


def _write_index(blocks: Any, problem: str, directory: str) -> None:
    numbers, categories, cells = column_order(load_problem(problem))
    by_split = {split: sorted((b for s, b in blocks if s == split), key=lambda b: b.path) for split in SPLITS}
    _write(f"{directory}/{INDEX}", Examples(numbers, categories, by_split, cells).to_json())


def _write_statistics(found: Any, directory: str) -> None:
    content = {split: statistics.to_json(columns) for split, columns in found.items()}
    _write(f"{directory}/statistics.json", json.dumps(content))


def _write_dead_letters(paths: Any, directory: str) -> None:
    """One file of all dead letters, by the names of the files and the places in them."""
    with files.create_file(f"{directory}/dead_letters.jsonl") as file:
        for path in sorted(paths):
            with files.open_file(path) as letters:
                file.write(letters.read())


def _write(path: str, text: str) -> None:
    with files.create_file(path) as file:
        file.write(text.encode())


def _counts(directory: Path, problem: Problem) -> dict[str, int]:
    """How many rows went where, by the statistics' own count of the label column; `rows` is their sum."""
    found: Mapping[str, Any] = json.loads((directory / "statistics.json").read_text())
    counts: dict[str, int] = dict.fromkeys(COUNTS, 0)
    for split in (*SPLITS, UNLABELLED):
        if split not in found:
            continue
        label = found[split]["columns"][problem.label.name]
        counts[split] = label["count"] + label["missing"]
    with (directory / "dead_letters.jsonl").open() as file:
        counts["dead_letter"] = sum(1 for _ in file)
    counts["rows"] = sum(counts.values())
    return counts
