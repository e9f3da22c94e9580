"""Proof that two engines computed the same features of the same rows; raises AssertionError where they did not."""

# pyright: reportAttributeAccessIssue=false

import itertools
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

sys.path.append(str(Path(__file__).parent / "peers"))

import features

TOLERANCE = 1e-6
RANK_ERROR = 0.01


def check(raw: Path, output: Path, *, ties_descending: bool) -> float:
    """Check one engine's features of all rows against those computed here in float64; returns the largest error of a
    z-score.

    Rows: each exactly once. Z-scores: of the float32 values, within 1e-6 of
    the deviation, or of themselves where they are larger (float32 resolves no better). Ids of categories: exactly the
    rank by count, then by name (`ties_descending`: TensorFlow Transform's order of names). Buckets: the edges come from
    each engine's own sketch, so ids are checked to cut the values in order, and the edges to be within 1 % of the rows
    of the quantiles. Crosses: exactly the hash of the ids.
    """
    found = pa.concat_tables([pq.read_table(path) for path in sorted(output.glob("proof-*.parquet"))]).sort_by("row")
    rows = _rows(raw)
    assert found.num_rows == rows.num_rows, (found.num_rows, rows.num_rows)
    assert (found["row"].to_numpy() == rows["row"].to_numpy()).all()
    numbers = {n: rows[n].to_numpy().astype(np.float32) for n in (*features.REQUIRED, *features.OPTIONAL)}
    clock = numbers["sched_dep_time"]
    numbers["departure_minute"] = np.floor(clock / 100) * 60 + clock % 100
    numbers["dew_spread"] = numbers["temp"] - numbers["dewp"]
    error = max(_scaled_error(numbers[n], found[f"{n}_scaled"].to_numpy()) for n in features.SCALED)
    assert error <= TOLERANCE, f"z-scores differ by {error}"
    for name, buckets in features.BUCKETIZED.items():
        _check_buckets(name, numbers[name], found[f"{name}_bucketized"].to_numpy(), buckets)
    for name in features.CATEGORIES:
        expected = _ranks(rows[name], ties_descending)
        assert (found[f"{name}_vocabulary"].to_numpy() == expected).all(), f"ids of {name}"
    _check_cross(found)
    return error


def _rows(raw: Path) -> pa.Table:
    tables = [pa_csv.read_csv(path) for path in sorted(raw.glob("*.csv"))]
    table = pa.concat_tables(tables, promote_options="permissive").sort_by("row")
    for name in features.CATEGORIES:
        missing = pc.equal(table[name], "")
        table = table.set_column(table.column_names.index(name), name, pc.if_else(missing, None, table[name]))
    return table


def _scaled_error(values: np.ndarray, found: np.ndarray) -> float:
    wide = values.astype(np.float64)
    expected = np.nan_to_num((wide - np.nanmean(wide)) / np.nanstd(wide), nan=0.0)
    return float((np.abs(expected - found) / np.maximum(1.0, np.abs(expected))).max())


def _check_buckets(name: str, values: np.ndarray, ids: np.ndarray, buckets: int) -> None:
    missing = np.isnan(values)
    assert (ids[missing] == 0).all(), f"buckets of {name}: missing"
    values, ids = values[~missing], ids[~missing]
    order = np.sort(values)
    used = np.unique(ids)
    assert used.min() >= 2, f"buckets of {name}: ids"
    assert used.max() <= buckets + 1, f"buckets of {name}: ids"
    assert len(used) >= buckets - 1, f"buckets of {name}: only {len(used)} of {buckets} are used"
    for before, after in itertools.pairwise(used):
        edge = values[ids == after].min()
        assert values[ids == before].max() < edge, f"buckets of {name} are not in order"
        # The edge's rank, of which equal values make an interval, beside that of the quantile it stands for.
        low, high = (
            np.searchsorted(order, edge, "left") / len(order),
            np.searchsorted(order, edge, "right") / len(order),
        )
        wanted = (after - 2) / buckets
        off = max(low - wanted, wanted - high, 0.0)
        assert off <= RANK_ERROR, f"buckets of {name}: an edge is {off:.2%} of the rows off"


def _ranks(words: pa.ChunkedArray, ties_descending: bool) -> np.ndarray:
    counts = Counter(words.drop_null().to_pylist())
    names = sorted(counts, reverse=ties_descending)
    ids = {word: rank for rank, word in enumerate(sorted(names, key=lambda word: -counts[word]), start=2)}
    return np.array([ids[word] if word is not None else 0 for word in words.to_pylist()])


def _check_cross(found: pa.Table) -> None:
    left, right = (found[f"{name}_vocabulary"].to_numpy().astype(np.uint64) for name in features.CROSS)
    pair = left * np.uint64(right.max() + 1) + right
    upper, lower = features.FACTOR
    hashed = (pair * np.uint64((upper << 32) | lower)) >> np.uint64(33)
    expected = hashed % np.uint64(features.CROSS_BUCKETS)
    assert (found["_x_".join(features.CROSS)].to_numpy() == expected).all(), "crosses"
