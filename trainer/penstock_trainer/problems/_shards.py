"""Bundled raw data as files, for the problems of this folder."""

from collections.abc import Iterator

import pyarrow as pa

from penstock_trainer.errors import InputError


def shards(table: pa.Table, rows: int | None, count: int) -> Iterator[tuple[str, pa.Table]]:
    """`rows` of the table, spread evenly (all when None), in `count` pieces: (`<i>-of-<count>`, rows).

    Raises:
        InputError: the table does not have so many rows.
    """
    if rows is not None:
        if not 1 <= rows <= table.num_rows:
            raise InputError(f"rows is {rows}; the bundled data has 1 to {table.num_rows:,} to give")
        table = table.take(pa.array([i * table.num_rows // rows for i in range(rows)]))
    bounds = [i * table.num_rows // count for i in range(count + 1)]
    for i in range(count):
        yield f"{i:02d}-of-{count:02d}", table.slice(bounds[i], bounds[i + 1] - bounds[i])
