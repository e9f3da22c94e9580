"""A category column of ten million different values: memory, time, and how far off the counts may be.

    trainer/.venv/bin/python benchmarks/categories.py [--millions 10]

Every value occurs once but for a hundred that are in every batch; 10,000 rows a batch, merged as Beam merges them.
"""

import argparse
import resource
import time

import numpy as np
from _report import report

from penstock_trainer.statistics import CategoryStatistics

BATCH = 10_000
FREQUENT = 100


def main() -> None:
    """Print a line for each figure, and stop where a count is further off than the statistics admit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, default=10, help="of different values (default: 10)")
    options = parser.parse_args()
    batches = options.millions * 1_000_000 // BATCH
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


if __name__ == "__main__":
    main()
