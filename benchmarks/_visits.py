"""A problem with a table of its own size: is an item liked? It depends on nothing but which item it is."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from penstock_trainer import Category, Hashed, Label, Number, Problem, TimeSplit, Timestamp, wide_and_deep

ITEMS = 30_000
BUCKETS = int(os.environ.get("VISITS_BUCKETS", "1000"))
DIMENSION = 64

problem = Problem(
    name="visits",
    columns={"day": Timestamp(required=True), "item": Category(required=True), "liked": Number(outcome=True)},
    label=Label("like", of=lambda columns: columns["liked"]),
    split=TimeSplit("day", validation="2024-11-01", test="2024-12-01"),
    features=[Hashed("item", buckets=BUCKETS, dimension=DIMENSION)],
    model=wide_and_deep,
    hyperparameters={"hidden": "32", "dropout": 0.0, "learning_rate": 0.01, "batch_size": 1024},
)


def write(path: Path, rows: int) -> None:
    """`rows` visits over a year, all items about as often as each other."""
    random = np.random.default_rng(1)
    items = random.integers(0, ITEMS, rows)
    days = np.datetime64("2024-01-01") + random.integers(0, 366, rows)
    columns = {"day": days.astype("datetime64[s]"), "item": [f"item-{item}" for item in items]}
    liked = (random.permutation(ITEMS) % 2)[items].astype(np.float64)
    pq.write_table(pa.table({**columns, "liked": liked}), path)
