"""Rows per CPU-second from CSV to features: Penstock beside TensorFlow Transform and DuckDB.

    trainer/.venv/bin/python benchmarks/preprocess.py [--repeats 5] [--scale 1] [--without-tft]

All three compute the features of `peers/features.py` from the same files; that they are equal is proven first
(`_equal.py` says what is compared). Every run is a process of its own, in turn with the others', and costs the
CPU-seconds (user and system, start-up included) that the kernel reports of it. Marginal rates are those of the rows
between a smaller and a larger input, of each round; reported is the median of the rounds.

Each ends with all features of all rows made. Penstock reads, shuffles, seals its dataset with SHA-256, and then
featurises every block in the graph, as training does. TensorFlow Transform writes tf.Examples, in the order of the
input. DuckDB writes Parquet in random order; the line `_unshuffled` gives it the easier task of keeping any order.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import _equal
import _flights
import _peers
from _measure import usage
from _report import report

PIPELINES = _peers.FOLDER


def main() -> None:
    """Prove the outputs equal, measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="times the flights (default: 1)")
    parser.add_argument("--without-tft", action="store_true", help="beside DuckDB alone, in a fifth of the time")
    options = parser.parse_args()
    theirs = _peers.python()
    commands = {
        "penstock": [sys.executable, PIPELINES / "penstock_pipeline.py"],
        "duckdb": [theirs, PIPELINES / "duckdb_pipeline.py"],
        "duckdb_unshuffled": [theirs, PIPELINES / "duckdb_pipeline.py"],
        "tft": [theirs, PIPELINES / "tft_pipeline.py"],
    }
    if options.without_tft:
        del commands["tft"]
    # So far apart that the difference is not lost in what start-up takes now and then.
    scales = {name: (1.0, 3.0) if name == "tft" else (1.0, 10.0) for name in commands}
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        raw: dict[float, Path] = {}
        rows: dict[float, int] = {}
        for factor in (0.25, 1.0, 3.0, 10.0):
            raw[factor] = Path(folder, f"raw-{factor}")
            rows[factor] = _flights.write(raw[factor], factor * options.scale, row_numbers=True)
        for name, command in commands.items():
            output = Path(folder, f"proof-{name}")
            usage([*command, raw[0.25], output, *flags(name), "--proof"])
            error = _equal.check(raw[0.25], output, ties_descending=name == "tft")
            note(f"{name}: ids exact, z-scores within {error:.1e}, {rows[0.25]:,} rows")
        seconds: dict[tuple[str, float], list[float]] = {(n, f): [] for n, both in scales.items() for f in both}
        for round_ in range(options.repeats):
            for (name, factor), taken in seconds.items():
                output = Path(folder, f"{name}-{factor}-{round_}")
                taken.append(usage([*commands[name], raw[factor], output, *flags(name)]).cpu_seconds)
            note(f"round {round_ + 1}: " + ", ".join(f"{n} {f:g}x {t[-1]:.1f} s" for (n, f), t in seconds.items()))
    marginal = {name: _marginal(rows, both, *(seconds[name, f] for f in both)) for name, both in scales.items()}
    whole = {name: statistics.median(rows[1.0] / s for s in seconds[name, 1.0]) for name in scales}
    goals = {"tft": 30.0, "duckdb": 1.0, "duckdb_unshuffled": None}
    goals = {peer: goal for peer, goal in goals.items() if peer in commands}
    for kind, rates in (("", marginal), ("_with_start_up", whole)):
        for peer, goal in goals.items():
            wanted = None if kind else goal
            ratio = rates["penstock"] / rates[peer]
            report(
                "preprocess",
                f"rows_per_cpu_second{kind}_vs_{peer}",
                rates["penstock"],
                "rows/CPU-s",
                peer={"tft": "TensorFlow Transform 1.21.0"}.get(peer, "DuckDB 1.5.6"),
                peer_value=rates[peer],
                ratio=ratio,
                goal=wanted,
                met=None if wanted is None else ratio >= wanted,
                repeats=options.repeats,
            )


def _marginal(rows: dict[float, int], both: tuple[float, float], small: list[float], large: list[float]) -> float:
    more = rows[both[1]] - rows[both[0]]
    return statistics.median(more / (b - a) for a, b in zip(small, large, strict=True))


def flags(name: str) -> list[str]:
    """What makes one of the engines a variant of itself."""
    return ["--unshuffled"] if name == "duckdb_unshuffled" else []


def note(text: str) -> None:
    """Progress, beside the results."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
