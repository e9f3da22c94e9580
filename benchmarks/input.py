"""Training input: examples a CPU-second read, parsed and made into the network's inputs, beside `tf.data`.

    trainer/.venv/bin/python benchmarks/input.py [--repeats 5] [--scale 1] [--epochs 3]

The same rows of the flights, the features of `peers/features.py` with the same statistics, in batches of 512 in random
order, from two forms on disk:

- Penstock: blocks of columns, read, shuffled, featurised with `Featurizer` and cut into batches in the graph, as
  `Network.train` does.
- `tf.data`, as its guide advises: TFRecords of one `tf.train.Example` a row (numbers as floats, categories as words),
  interleaved, shuffled, batched, `tf.io.parse_example` on batches, then Keras preprocessing layers (`Normalization`,
  `Discretization`, `StringLookup`, hashed crosses) in the parallel `map`, and `prefetch`. The line `_of_codes` spares
  it the look-ups: its examples hold the categories' ranks.

Every run is a process of its own that makes some epochs after one that warms up (tracing, page cache), and counts the
CPU-seconds of those; runs alternate, the median counts. The network itself is part of neither. That both make the same
inputs is checked in every run by the sums of each input times the number of its row: exactly for ids, within 1e-5 of a
deviation a row for z-scores (Keras normalises in float32). At last the blocks, which the kernel has in memory, are
handed to a graph alone, as the trainer does and as workers beside parameter servers do, beside copies of the same bytes
from memory to memory (one cell of each page is read of either); and what a row's shuffling and features take.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import _flights
from _report import report

PIPELINES = Path(__file__).resolve().parent / "peers"
GOAL_OF_A_COPY = 0.5
PEERS = {"tf_data_words": "", "tf_data_codes": "_of_codes"}


def main() -> None:
    """Prepare both forms, measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="times the flights (default: 1)")
    parser.add_argument("--epochs", type=int, default=3, help="measured passes in a run (default: 3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        folder = Path(name)
        _flights.write(folder / "raw", options.scale, row_numbers=True)
        problem = str(PIPELINES / "penstock_pipeline.py")
        stage = ["-m", "penstock_trainer", "preprocess", "--problem", problem, "--raw", str(folder / "raw")]
        run([*stage, "--artifacts", name])
        script = str(PIPELINES / "input_pipelines.py")
        run([script, "write", name, "0"])
        found: dict[str, list[dict[str, Any]]] = {what: [] for what in ("penstock", *PEERS)}
        for round_ in range(options.repeats):
            for what, runs in found.items():
                output = run([script, what, name, str(options.epochs)])
                runs.append(json.loads(output.splitlines()[-1]))
                check(found["penstock"][0]["sums"], runs[-1]["sums"], what)
            last = ", ".join(f"{what} {runs[-1]['cpu_seconds']:.2f} CPU-s" for what, runs in found.items())
            print(f"round {round_ + 1}: {last}", file=sys.stderr, flush=True)
        alone = [json.loads(run([script, "blocks", name, str(options.epochs)])) for _ in range(options.repeats)]
    for way, goal in (("mapped", GOAL_OF_A_COPY), ("read", None)):
        rates = {each: statistics.median(a["bytes"] / a[each] / 1e9 for a in alone) for each in (way, "copied")}
        ratio = statistics.median(a["copied"] / a[way] for a in alone)
        of = {"peer": "memory copy", "peer_value": rates["copied"], "ratio": ratio, "goal": goal}
        met = None if goal is None else ratio >= goal
        report("input", f"blocks_{way}", rates[way], "GB/s", repeats=options.repeats, met=met, **of)
    for part in ("mapped", "shuffled", "featurised"):
        taken = statistics.median(each[part] / each["rows"] * 1e9 for each in alone)
        report("input", f"time_of_a_row_{part}", taken, "ns", repeats=options.repeats)
    for unit, field in (("examples/CPU-s", "cpu_seconds"), ("examples/s", "seconds")):
        rates = {what: statistics.median(_rate(each, field) for each in runs) for what, runs in found.items()}
        for peer, suffix in PEERS.items():
            ratio = rates["penstock"] / rates[peer]
            report(
                "input",
                f"training_input_vs_parse_example{suffix}" + ("_wall" if field == "seconds" else ""),
                rates["penstock"],
                unit,
                peer="tf.data + tf.io.parse_example + Keras preprocessing" + (", codes" if suffix else ""),
                peer_value=rates[peer],
                ratio=ratio,
                goal=5,
                met=ratio >= 5,
                repeats=options.repeats,
            )


def _rate(run_: dict[str, Any], field: str) -> float:
    return run_["sums"]["rows"] * run_["epochs"] / run_[field]


def check(ours: dict[str, float], theirs: dict[str, float], what: str) -> None:
    """Raise AssertionError unless the checksums are those of the same inputs."""
    assert ours.keys() == theirs.keys(), what
    for name, total in ours.items():
        allowed = 1e-5 * ours["row"] if name.endswith("_scaled") else 0
        assert abs(total - theirs[name]) <= allowed, f"{what}: {name}: {total} and {theirs[name]}"


def run(arguments: list[str]) -> str:
    """What a script of the trainer's environment prints; ends with its errors when it fails."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-4000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
