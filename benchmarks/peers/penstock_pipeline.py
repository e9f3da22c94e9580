"""Penstock's side of `benchmarks/preprocess.py`: its preprocessing stage, then every row featurised in the graph.

    trainer/.venv/bin/python benchmarks/peers/penstock_pipeline.py RAW_FOLDER OUTPUT [--proof]

Penstock stores raw values and statistics and builds features in the model; here they are computed for all rows, so that
the work is that of peers who write features. `--proof` writes them too.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.append(str(Path(__file__).parent))

import features
import tensorflow as tf

from penstock_trainer import (
    Bucketized,
    Category,
    Crossed,
    Integer,
    Label,
    Number,
    Problem,
    Scaled,
    TimeSplit,
    Timestamp,
    Vocabulary,
)


def derive(columns):
    clock = columns["sched_dep_time"]
    return {
        "departure_minute": tf.floor(clock / 100.0) * 60.0 + tf.math.floormod(clock, 100.0),
        "dew_spread": columns["temp"] - columns["dewp"],
    }


def far(columns):
    return columns["distance"]


vocabularies = {name: Vocabulary(name) for name in features.CATEGORIES}
left, right = features.CROSS
problem = Problem(
    name="preprocess_benchmark",
    columns={
        "time_hour": Timestamp(required=True),
        "row": Integer(required=True),
        "sched_dep_time": Integer(required=True),
        "distance": Number(required=True),
        **{name: Number() for name in features.OPTIONAL},
        **{name: Category(required=True) for name in features.REQUIRED_CATEGORIES},
        **{name: Category() for name in features.OPTIONAL_CATEGORIES},
    },
    label=Label("far", of=far, head="regression"),
    split=TimeSplit("time_hour", validation="2100-01-01", test="2100-01-02"),
    derive=derive,
    derived={"departure_minute": Number(), "dew_spread": Number()},
    features=[
        *(Scaled(name) for name in features.SCALED),
        *(Bucketized(name, buckets) for name, buckets in features.BUCKETIZED.items()),
        *vocabularies.values(),
        Crossed(vocabularies[left], vocabularies[right], features.CROSS_BUCKETS),
    ],
    model=lambda *_: None,
)


def main(raw: Path, output: Path, proof: bool) -> None:
    """Preprocess `raw`, and featurise the rows."""
    from penstock_trainer import blocks, statistics
    from penstock_trainer.__main__ import main as trainer
    from penstock_trainer.examples import Examples
    from penstock_trainer.featurizer import Featurizer

    stage = ["preprocess", "--problem", str(Path(__file__).resolve()), "--raw", str(raw), "--artifacts", str(output)]
    if trainer([*stage, "--bad-rows-allowed", "0"]):
        raise SystemExit(1)
    (dataset,) = (path.parent for path in output.glob("dataset/*/manifest.json"))
    examples = Examples.read(dataset)
    found = statistics.from_json(json.loads((dataset / "statistics.json").read_text())["training"])
    featurizer = Featurizer(problem, found, {})

    @tf.function(autograph=False, input_signature=[blocks.MAPPED])
    def featurised(block: tf.Tensor) -> dict[str, tf.Tensor]:
        cells = blocks.cells(block, examples.width)
        named = {name: cells[place] for place, name in enumerate(examples.numbers)}
        for place, name in enumerate(examples.categories, start=len(examples.numbers)):
            named[name] = tf.bitcast(cells[place], tf.int32)
        return {**featurizer(named), "row": named["row"]}

    for number, block in enumerate(examples.blocks["training"]):
        batch = featurised(blocks.mapped(dataset / block.path))
        assert batch["row"].shape[0] == block.rows
        if proof:
            _write(
                {name: values.numpy().ravel() for name, values in batch.items()}, output / f"proof-{number:05d}.parquet"
            )


def _write(batch: dict, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(batch), path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "--proof" in sys.argv)
