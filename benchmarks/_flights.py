"""More flights than there were: copies whose values and categories differ, as CSV files.

The first copy is the real flights. Every further one has planes of its own (4,043 more tail numbers), so the number of
distinct categories grows with the rows, and its weather and distances are disturbed at random, so that values grow too.
"""

# pyright: reportAttributeAccessIssue=false

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from penstock_trainer.problems.nycflights import joined

NOISE = {"temp": 2.0, "dewp": 2.0, "humid": 3.0, "wind_speed": 1.0, "pressure": 2.0, "distance": 20.0}


def write(directory: Path, copies: float, *, row_numbers: bool = False) -> int:
    """Write `copies` times the flights, one file a copy; `row_numbers` adds a column `row`. Returns how many rows."""
    directory.mkdir(parents=True, exist_ok=True)
    original, rows = joined(), 0
    for copy in range(-int(-copies // 1)):
        table = original if copy == 0 else _disturbed(original, copy)
        table = table.slice(0, round(min(1.0, copies - copy) * table.num_rows))
        if row_numbers:
            table = table.append_column("row", pa.array(np.arange(rows, rows + table.num_rows)))
        pa_csv.write_csv(table, directory / f"flights-{copy:03d}.csv")
        rows += table.num_rows
    return rows


def _disturbed(table: pa.Table, copy: int) -> pa.Table:
    random = np.random.default_rng(copy)
    for name, size in NOISE.items():
        noise = pa.array(random.integers(int(-size * 100), int(size * 100), table.num_rows) / 100)
        values = pc.add(table[name], pc.floor(noise) if name == "distance" else noise)
        table = table.set_column(table.column_names.index(name), name, pc.round(values, 2))
    planes = pc.binary_join_element_wise(table["tailnum"], str(copy), "-")
    return table.set_column(table.column_names.index("tailnum"), "tailnum", planes)
