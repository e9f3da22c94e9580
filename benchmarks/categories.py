"""A category column of ten million different values: memory, time, and how far off the counts may be.

    trainer/.venv/bin/python benchmarks/categories.py [--millions 10]

Statistics: every value occurs once but for a hundred that are in every batch; 10,000 rows a batch, merged as Beam
merges them. Preprocessing: the stage as a user runs it, over as many rows in eight CSV files, whose words are all
different, and beside it over the same rows with 1,000 different words.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from _measure import usage
from _report import report

from penstock_trainer.statistics import CategoryStatistics

BATCH = 10_000
FREQUENT = 100
FILES = 8
FEW = 1_000
PROBLEM = """
from penstock_trainer import Category, Label, Number, Problem, TimeSplit, Timestamp, Vocabulary, linear

problem = Problem(
    name="words",
    columns={"at": Timestamp(required=True), "word": Category(), "number": Number(outcome=True)},
    label=Label("high", of=lambda columns: columns["number"] > 0.5),
    split=TimeSplit("at", validation="2024-07-01", test="2024-09-01"),
    features=[Vocabulary("word", minimum_count=2)],
    model=linear,
)
"""


def main() -> None:
    """Print a line for each figure, and stop where a count is further off than the statistics admit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, default=10, help="of different values (default: 10)")
    options = parser.parse_args()
    statistics(options.millions * 1_000_000 // BATCH)
    rows = options.millions * 1_000_000
    peaks = {different: preprocess(rows, different) for different in (FEW, rows)}
    growth = peaks[rows] - peaks[FEW]
    report("categories", "peak_memory_of_preprocessing", peaks[rows], "MiB", peer=f"{FEW} words", peer_value=peaks[FEW])
    report("categories", "peak_memory_growth_of_preprocessing", growth, "MiB")


def statistics(batches: int) -> None:
    """Of one column, in this process."""
    frequent = [f"often-{n}" for n in range(FREQUENT)]
    merged, before, began = (
        CategoryStatistics(),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        time.process_time(),
    )
    for batch in range(batches):
        words = [*frequent, *(f"{n:x}" for n in range(batch * BATCH, (batch + 1) * BATCH))]
        merged.merge(CategoryStatistics.of(words, np.ones(len(words), int), missing=0))
    seconds = time.process_time() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    off = max(batches - merged.categories[word] for word in frequent)
    assert off <= merged.undercount
    assert merged.count == merged.categories.total() + merged.pruned
    report("categories", "peak_memory_growth", grown, "MiB", repeats=1)
    report("categories", "values_per_cpu_second", batches * (BATCH + FREQUENT) / seconds, "values/CPU-s", repeats=1)
    report("categories", "distinct_estimate_over_true", merged.distinct / (batches * BATCH + FREQUENT), "", repeats=1)
    report("categories", "undercount_of_the_frequent", off, "rows", repeats=1)
    report("categories", "undercount_admitted", merged.undercount, "rows", repeats=1)


def preprocess(rows: int, different: int) -> float:
    """The stage's peak of memory in MiB over so many rows with so many different words."""
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        folder = Path(name)
        (folder / "words.py").write_text(PROBLEM)
        (folder / "raw").mkdir()
        random = np.random.default_rng(0)
        for number, places in enumerate(np.array_split(random.permutation(rows), FILES)):
            words = [f"{place % different:x}" for place in places]
            days = np.datetime64("2024-01-01") + random.integers(0, 366, len(words))
            table = pa.table({"at": days.astype("datetime64[s]"), "word": words, "number": random.random(len(words))})
            pa_csv.write_csv(table, folder / "raw" / f"{number}.csv")
        stage = [sys.executable, "-m", "penstock_trainer", "preprocess", "--problem", folder / "words.py"]
        used = usage([*stage, "--raw", folder / "raw", "--artifacts", folder / "artifacts"], memory=True)
        print(f"{different:,} words in {rows:,} rows: {used}", file=sys.stderr, flush=True)
        return used.peak_mib


if __name__ == "__main__":
    main()
