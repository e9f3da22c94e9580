"""Both sides of `benchmarks/input.py`, in the trainer's environment: prints CPU-seconds and checksums as JSON.

    trainer/.venv/bin/python benchmarks/peers/input_pipelines.py WHAT FOLDER EPOCHS

WHAT is `write`, `penstock`, `tf_data_words`, `tf_data_codes`, or `blocks` (read alone, beside a copy in memory, and
what else becomes of them).
FOLDER holds `dataset`, which Penstock made of `penstock_pipeline.problem`; `write` adds TFRecords of the same rows.
"""

import json
import mmap
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
sys.path.append(str(Path(__file__).parent))

import features
import numpy as np
import tensorflow as tf
import tf_keras as keras
from penstock_pipeline import problem

from penstock_trainer import blocks, statistics
from penstock_trainer.examples import Examples, read_block
from penstock_trainer.featurizer import Featurizer

BATCH = 512
SHUFFLED = 8192  # rows among which a batch's are drawn: a block's, and the buffer of tf.data
Batch = dict[str, tf.Tensor]


class Dataset:
    """What Penstock prepared: index, blocks, statistics."""

    def __init__(self, folder: Path):
        (self.path,) = (path.parent for path in folder.glob("dataset/*/manifest.json"))
        self.examples = Examples.read(self.path)
        found = json.loads((self.path / "statistics.json").read_text())["training"]
        self.statistics = statistics.from_json(found)
        self.featurizer = Featurizer(problem, self.statistics, {})
        self.words = {name: [*self.statistics[name].ranked(), ""] for name in features.CATEGORIES}  # type: ignore[union-attr]

    def featurised(self, rows: tf.Tensor) -> Batch:
        """The features of rows, [rows, width]."""
        cells = tf.transpose(rows)
        named = {name: cells[place] for place, name in enumerate(self.examples.numbers)}
        for place, name in enumerate(self.examples.categories, start=len(self.examples.numbers)):
            named[name] = tf.bitcast(cells[place], tf.int32)
        return {**self.featurizer(named), "row": named["row"]}


def write(dataset: Dataset, folder: Path) -> None:
    """The blocks' rows as `tf.train.Example`s: numbers as floats, categories as words and as codes."""
    for number, block in enumerate(dataset.examples.blocks["training"]):
        numbers, codes, _ = read_block(dataset.path / block.path, dataset.examples)
        columns = dict(zip(dataset.examples.numbers, numbers.tolist(), strict=True))
        ranks = dict(zip(dataset.examples.categories, codes.tolist(), strict=True))
        for kind in ("words", "codes"):
            with tf.io.TFRecordWriter(str(folder / f"{kind}-{number:05d}.tfrecord")) as writer:
                for row in range(block.rows):
                    cells = {n: _floats(v[row]) for n, v in columns.items() if not np.isnan(v[row])}
                    for name, found in ranks.items():
                        if kind == "codes":
                            cells[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[found[row]]))
                        elif found[row] >= 0:
                            word = dataset.words[name][found[row]].encode()
                            cells[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[word]))
                    writer.write(tf.train.Example(features=tf.train.Features(feature=cells)).SerializeToString())


def _floats(value: float) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))


def penstock(dataset: Dataset) -> Callable[[], Batch]:
    """An epoch over blocks, as `Network.train` takes them: a block's features at once, then batches of them."""
    examples, featurised = dataset.examples, dataset.featurised

    @tf.function(input_signature=[blocks.MAPPED, tf.TensorSpec([2], tf.int32)])
    def block(mapped: tf.Tensor, seed: tf.Tensor) -> Batch:
        cells = blocks.shuffled(blocks.cells(mapped, examples.width), seed)
        inputs = tf.autograph.experimental.do_not_convert(featurised)(cells)
        totals = tf.nest.map_structure(tf.zeros_like, outline)
        for start in tf.range(0, tf.shape(cells)[0], BATCH):
            totals = added(totals, {name: values[start : start + BATCH] for name, values in inputs.items()})
        return totals

    outline = added(None, featurised(tf.zeros([1, examples.width])))
    paths = [str(dataset.path / each.path) for each in examples.blocks["training"]]

    def epoch() -> Batch:
        order = np.random.default_rng(0).permutation(len(paths))
        sums = [block(blocks.mapped(paths[i]), tf.constant([0, i], tf.int32)) for i in order]
        return {name: sum(each[name] for each in sums) for name in sums[0]}  # type: ignore[misc]

    return epoch


def alone(dataset: Dataset, epochs: int) -> dict[str, float]:
    """`bytes` and `rows` of the training blocks, and the seconds that they take: `mapped` as the trainer has them, each
    page read once; `read` by a graph that gets the paths, as workers beside parameter servers do; `copied` from memory
    to memory, each page of the copy read once; then `shuffled`, and `featurised`, from memory.
    """
    width = dataset.examples.width

    @tf.function(input_signature=[blocks.PATH])
    def read(path: tf.Tensor) -> tf.Tensor:
        return blocks.cells(path, width)

    @tf.function(input_signature=[blocks.MAPPED, tf.TensorSpec([2], tf.int32)])
    def shuffled(cells: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return blocks.shuffled(blocks.cells(cells, width), seed)

    featurised = tf.function(dataset.featurised, input_signature=[tf.TensorSpec([None, width])], autograph=False)
    paths = [str(dataset.path / each.path) for each in dataset.examples.blocks["training"]]
    there = [np.fromfile(path, "<f4") for path in paths]
    tensors, rows = [tf.constant(cells) for cells in there], [tf.constant(cells.reshape(-1, width)) for cells in there]
    names, seed = [tf.constant(path) for path in paths], tf.constant([0, 1], tf.int32)
    ways: dict[str, Callable[[int], Any]] = {
        "mapped": lambda i: touched(np.asarray(memoryview(blocks.mapped(paths[i])))),
        "read": lambda i: touched(np.asarray(memoryview(read(names[i]))).ravel()),
        "copied": lambda i: touched(there[i].copy()),
        "shuffled": lambda i: shuffled(tensors[i], seed),
        "featurised": lambda i: featurised(rows[i]),
    }
    seconds = dict.fromkeys(ways, 0.0)
    for epoch in range(1 + epochs):
        for name, way in ways.items():
            began = time.perf_counter()
            for place in range(len(paths)):
                way(place)
            seconds[name] += (time.perf_counter() - began) * (epoch > 0)
    bytes_ = sum(cells.nbytes for cells in there)
    return {**seconds, "bytes": epochs * bytes_, "rows": epochs * bytes_ / 4 / width}


def touched(cells: np.ndarray) -> float:
    """The sum of one cell of each page."""
    return float(np.nansum(cells[:: mmap.PAGESIZE // 4]))


def tf_data(dataset: Dataset, folder: Path, kind: str) -> Callable[[], Batch]:
    """An epoch over TFRecords, as the guide to `tf.data` advises, with Keras preprocessing layers."""
    keras_features = KerasFeatures(dataset, lookup=kind == "words")
    records = tf.data.Dataset.list_files(str(folder / f"{kind}-*.tfrecord"), shuffle=True)
    records = records.interleave(tf.data.TFRecordDataset, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
    batches = records.shuffle(SHUFFLED).batch(BATCH)
    batches = batches.map(keras_features, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
    batches = batches.prefetch(tf.data.AUTOTUNE)
    zero = {name: tf.zeros_like(total) for name, total in added(None, next(iter(batches))).items()}

    @tf.function
    def epoch() -> Batch:
        return batches.reduce(zero, added)

    return epoch


class KerasFeatures:
    """Serialised examples to the same features as `Featurizer` makes."""

    def __init__(self, dataset: Dataset, *, lookup: bool):
        text = tf.io.FixedLenFeature([], tf.string, "") if lookup else tf.io.FixedLenFeature([], tf.int64)
        self.spec = {n: tf.io.FixedLenFeature([], tf.float32, float("nan")) for n in dataset.examples.numbers}
        self.spec |= dict.fromkeys(features.CATEGORIES, text)
        found = dataset.statistics
        self.scaled = {
            name: keras.layers.Normalization(axis=None, mean=found[name].mean, variance=found[name].variance)
            for name in features.SCALED
        }
        self.cut = {
            name: keras.layers.Discretization(found[name].boundaries(buckets))
            for name, buckets in features.BUCKETIZED.items()
        }
        self.ids = {name: len(dataset.words[name]) + 1 for name in features.CATEGORIES}
        self.lookups = {
            name: keras.layers.StringLookup(vocabulary=dataset.words[name][:-1], mask_token="") if lookup else code_ids
            for name in features.CATEGORIES
        }

    def __call__(self, serialized: tf.Tensor) -> Batch:
        columns = tf.io.parse_example(serialized, self.spec)
        outputs: Batch = {"row": columns["row"]}
        for name, layer in self.scaled.items():
            values = columns[name]
            scaled = tf.where(tf.math.is_nan(values), 0.0, layer(values))
            outputs[f"{name}_scaled"] = scaled[:, tf.newaxis]
        for name, layer in self.cut.items():
            values = columns[name]
            missing = tf.math.is_nan(values)
            bucket = layer(tf.where(missing, 0.0, values))
            outputs[f"{name}_bucketized"] = tf.where(missing, 0, tf.cast(bucket, tf.int32) + 2)
        ids = {name: lookup(columns[name]) for name, lookup in self.lookups.items()}
        outputs |= {f"{name}_vocabulary": tf.cast(found, tf.int32) for name, found in ids.items()}
        left, right = features.CROSS
        upper, lower = features.FACTOR
        pair = tf.cast(ids[left], tf.int64) * self.ids[right] + tf.cast(ids[right], tf.int64)
        hashed = tf.bitwise.right_shift(pair * upper + tf.bitwise.right_shift(pair * lower, 32), 1) & 0x7FFFFFFF
        outputs[f"{left}_x_{right}"] = tf.cast(tf.math.floormod(hashed, features.CROSS_BUCKETS), tf.int32)
        return outputs


def code_ids(codes: tf.Tensor) -> tf.Tensor:
    """Codes, -1 where missing, to ids: 0 where missing, then 2 on."""
    return tf.where(codes < 0, tf.zeros_like(codes), codes + 2)


def added(totals: Batch | None, batch: Batch) -> Batch:
    """Checksums of a batch on top of others': how many rows, and the sum of each feature times the row's number."""
    row = tf.cast(batch["row"], tf.int64)
    sums = {"rows": tf.size(row, tf.int64), "row": tf.reduce_sum(row)}
    for name in batch.keys() - {"row"}:
        values = tf.reshape(batch[name], [-1])
        wide = tf.cast(values, tf.float64 if values.dtype.is_floating else tf.int64)
        sums[name] = tf.reduce_sum(wide * tf.cast(row, wide.dtype))
    return sums if totals is None else {name: totals[name] + value for name, value in sums.items()}


def main(what: str, folder: Path, epochs: int) -> None:
    """Write the TFRecords, or measure epochs after one that warms up."""
    dataset = Dataset(folder)
    if what == "write":
        write(dataset, folder)
        return
    if what == "blocks":
        print(json.dumps(alone(dataset, epochs)))
        return
    epoch = penstock(dataset) if what == "penstock" else tf_data(dataset, folder, what.removeprefix("tf_data_"))
    sums = {name: value.numpy().item() for name, value in epoch().items()}
    began, wall = time.process_time(), time.monotonic()
    for _ in range(epochs):
        epoch()
    used = {"cpu_seconds": time.process_time() - began, "seconds": time.monotonic() - wall}
    print(json.dumps({**used, "epochs": epochs, "sums": sums}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
