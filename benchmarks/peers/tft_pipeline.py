"""TensorFlow Transform's side of `benchmarks/preprocess.py`: CSV to tf.Examples of features, by its own means.

    benchmarks/peers/.venv/bin/python benchmarks/peers/tft_pipeline.py RAW_FOLDER (OUTPUT [--proof] | --asked)

Arrow batches from TFX-BSL's CSV reader, `AnalyzeAndTransformDataset` on Beam's in-process runner, and examples encoded
by TFX-BSL. The rows are not shuffled. `--proof` reads the examples back and writes them as Parquet. `--asked` reads
lines `{"output": FOLDER, "buckets": {COLUMN: COUNT}}` from its standard input, runs once for each, and says `done`.
"""

import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.append(str(Path(__file__).parent))

import apache_beam as beam
import features
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_transform.tf_metadata import schema_utils
from tfx_bsl.public import tfxio

SPEC = {
    **{name: tf.io.FixedLenFeature([], tf.float32) for name in features.REQUIRED},
    **{name: tf.io.VarLenFeature(tf.float32) for name in features.OPTIONAL},
    **{name: tf.io.FixedLenFeature([], tf.string) for name in features.REQUIRED_CATEGORIES},
    **{name: tf.io.VarLenFeature(tf.string) for name in features.OPTIONAL_CATEGORIES},
}


def preprocessing_fn(inputs, bucketized):
    numbers = {name: inputs[name] for name in features.REQUIRED}
    numbers |= {name: _dense(inputs[name], float("nan")) for name in features.OPTIONAL}
    clock = numbers["sched_dep_time"]
    numbers["departure_minute"] = tf.floor(clock / 100.0) * 60.0 + tf.math.floormod(clock, 100.0)
    numbers["dew_spread"] = numbers["temp"] - numbers["dewp"]
    outputs = {"row": numbers["row"]}
    for name in features.SCALED:
        # float64: in float32, mean and variance of these columns are off by more than the comparison allows.
        scaled = tft.scale_to_z_score(_present(tf.cast(numbers[name], tf.float64)))
        outputs[f"{name}_scaled"] = tf.cast(_dense(scaled, 0.0), tf.float32)
    for name, buckets in bucketized.items():
        bucket = tft.bucketize(_present(numbers[name]), buckets)
        outputs[f"{name}_bucketized"] = _dense(_shifted(bucket), 0)
    ids = {}
    for name in features.CATEGORIES:
        words = inputs[name] if isinstance(inputs[name], tf.SparseTensor) else _column(inputs[name])
        ids[name] = _dense(_shifted(tft.compute_and_apply_vocabulary(words, vocab_filename=name)), 0)
        outputs[f"{name}_vocabulary"] = ids[name]
    left, right = features.CROSS
    sizes = tft.experimental.get_vocabulary_size_by_name(right) + 2
    pair = ids[left] * sizes + ids[right]
    upper, lower = features.FACTOR
    hashed = tf.bitwise.right_shift(pair * upper + tf.bitwise.right_shift(pair * lower, 32), 1) & 0x7FFFFFFF
    outputs[f"{left}_x_{right}"] = tf.math.floormod(hashed, features.CROSS_BUCKETS)
    return outputs


def _present(values):
    """The values that are not NaN, as a column."""
    column = tf.expand_dims(values, 1)
    places = tf.where(~tf.math.is_nan(column))
    return tf.SparseTensor(places, tf.gather_nd(column, places), tf.shape(column, tf.int64))


def _column(values):
    places = tf.stack([tf.range(tf.size(values, tf.int64)), tf.zeros_like(values, tf.int64)], 1)
    return tf.SparseTensor(places, values, tf.stack([tf.size(values, tf.int64), 1]))


def _shifted(ids):
    return tf.SparseTensor(ids.indices, ids.values + 2, ids.dense_shape)


def _dense(column, missing):
    shape = tf.stack([column.dense_shape[0], tf.constant(1, tf.int64)])
    values = tf.sparse.to_dense(tf.SparseTensor(column.indices, column.values, shape), missing)
    return tf.squeeze(values, 1)


def run(raw: Path, output: Path, bucketized: dict[str, int]) -> None:
    """Analyse and transform `raw`."""
    output.mkdir(parents=True)
    with next(raw.glob("*.csv")).open() as file:
        names = [name.strip('"') for name in file.readline().strip().split(",")]
    schema = schema_utils.schema_from_feature_spec(SPEC)
    source = tfxio.CsvTFXIO(str(raw / "*.csv"), column_names=names, schema=schema, skip_header_lines=1)
    coder_of = tfxio.RecordBatchToExamplesEncoder
    with (
        tempfile.TemporaryDirectory() as scratch,
        beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline,
        tft_beam.Context(temp_dir=scratch),
    ):
        batches = pipeline | "Read" >> source.BeamSource()
        (transformed, metadata), _ = (
            batches,
            source.TensorAdapterConfig(),
        ) | tft_beam.AnalyzeAndTransformDataset(
            partial(preprocessing_fn, bucketized=bucketized), output_record_batches=True
        )
        encoder = coder_of(metadata.schema)
        _ = (
            transformed
            | "Encode" >> beam.FlatMapTuple(lambda batch, _: encoder.encode(batch))
            | "Write" >> beam.io.WriteToTFRecord(str(output / "examples"))
        )


def _write_proof(output: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    spec = {name: tf.io.FixedLenFeature([], tf.int64) for name in _names("bucketized", features.BUCKETIZED)}
    spec |= {name: tf.io.FixedLenFeature([], tf.int64) for name in _names("vocabulary", features.CATEGORIES)}
    spec |= {name: tf.io.FixedLenFeature([], tf.float32) for name in [*_names("scaled", features.SCALED), "row"]}
    spec["_x_".join(features.CROSS)] = tf.io.FixedLenFeature([], tf.int64)
    files = sorted(str(path) for path in output.glob("examples*"))
    for number, batch in enumerate(tf.data.TFRecordDataset(files).batch(65536)):
        table = pa.table({name: values.numpy() for name, values in tf.io.parse_example(batch, spec).items()})
        pq.write_table(table, output / f"proof-{number:05d}.parquet")


def _names(suffix, columns) -> list[str]:
    return [f"{name}_{suffix}" for name in columns]


def main(raw: Path, output: str, *flags: str) -> None:
    """Run once, or as often as asked."""
    if output == "--asked":
        print("ready", flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            counts = {name: asked["buckets"].get(name, count) for name, count in features.BUCKETIZED.items()}
            run(raw, Path(asked["output"]), counts)
            print("done", flush=True)
        return
    run(raw, Path(output), features.BUCKETIZED)
    if "--proof" in flags:
        _write_proof(Path(output))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
