"""Made-up birds for the problem in `_species.py`."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from ._species import CLASSES

UNLABELLED = 5
HATCHED = ("2023-{:02}-{:02}T{:02}:30:00.5+02:00", "", "1999-{:02}-{:02}", "2022-{:02}-{:02} {:02}:59")
CENTERS = np.array([[39, 3700], [47, 5100], [49, 3700]], np.float32)


def birds(rows: int, **changed: Any) -> pa.Table:
    """Birds of 2024, one class more often than the others; the first `UNLABELLED` have no species."""
    random = np.random.default_rng(7)
    kinds = random.choice(3, rows, p=[0.5, 0.3, 0.2])
    numbers = CENTERS[kinds] + random.normal(0, [2, 300], (rows, 2))
    days = [(date(2024, 1, 1) + timedelta(days=int(day))).isoformat() for day in random.integers(0, 366, rows)]
    species = ["" if row < UNLABELLED else CLASSES[kind] for row, kind in enumerate(kinds)]
    islands = np.array(["biscoe", "dream", "torgersen"])[np.where(random.random(rows) < 0.8, kinds, 1)]
    hatched = [HATCHED[row % len(HATCHED)].format(row % 12 + 1, row % 28 + 1, row % 24) for row in range(rows)]
    columns = {"seen": days, "hatched": hatched, "bill": numbers[:, 0], "mass": numbers[:, 1], "island": islands}
    return pa.table({**columns, "species": species, **changed})


def write(path: Path, rows: int, **changed: Any) -> Path:
    """The birds as a CSV file."""
    pa_csv.write_csv(birds(rows, **changed), path)
    return path
