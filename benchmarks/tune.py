"""A study of 40 trials with bucket counts in the space, beside one that preprocesses for every trial; its bookkeeping.

    trainer/.venv/bin/python benchmarks/tune.py [--trials 40] [--with-tft]

All flights, one process, an epoch a trial. The raw files are put away while the study runs, so a trial that scanned
them would fail. What preprocessing per trial would take is measured over a few runs and added to the trials' own times:

- by Penstock's own pipeline in a warm process, start-up left out;
- with `--with-tft`, by TensorFlow Transform (`bench-preprocess`'s pipeline, a process each, start-up subtracted).

Bookkeeping: eight processes share one study over the same space, whose trials sleep as long as a real one takes in the
mean and report an epoch; what their processes take beyond that sleep is bookkeeping.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _flights
from _report import report

PROCESSES = 8
NAIVE_RUNS = 3
EMPTY_TRIALS = 5  # of each process
GOAL, OVERHEAD_GOAL = 5.0, 0.02
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_USE_LEGACY_KERAS": "1"}


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40, help="trials of the study (default: 40)")
    parser.add_argument("--with-tft", action="store_true", help="measure TensorFlow Transform too (minutes to set up)")
    parser.add_argument("--empty-study", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--trial-seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    if options.empty_study:
        empty_study(options.empty_study, options.trial_seconds)
        return
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        measure(Path(name), options.trials, options.with_tft)


def measure(folder: Path, trials: int, with_tft: bool) -> None:
    """Run everything in `folder`."""
    raw = folder / "raw"
    rows = _flights.write(raw, 1)
    preprocess_seconds, dataset = naive_preprocessing(raw, folder)
    away = raw.rename(folder / "away")
    began = time.monotonic()
    stage("tune", "--dataset", dataset, "--trials", trials, "--epochs", 1, "--artifacts", folder / "artifacts")
    wall = time.monotonic() - began
    away.rename(raw)
    (study,) = (json.loads(path.read_text()) for path in (folder / "artifacts").glob("study/*/study.json"))
    done = [trial for trial in study["trials"] if trial["state"] in ("COMPLETE", "PRUNED")]
    assert len(done) == trials
    assert all(epoch["examples"] == study["trials"][0]["epochs"][0]["examples"] for t in done for epoch in t["epochs"])
    cuts = {tuple(v for k, v in trial["hyperparameters"].items() if k.endswith(".buckets")) for trial in done}
    print(f"{rows:,} rows, {len(cuts)} different sets of bucket counts", file=sys.stderr, flush=True)
    report(
        "tune", "raw_data_scans", 1, "scans", peer="a scan a trial", peer_value=trials, ratio=trials, goal=1, met=True
    )
    report("tune", "distinct_bucket_counts", len(cuts), "sets")
    once = wall + preprocess_seconds
    peers = {"wall_time_vs_preprocess_per_trial": ("Penstock's own preprocessing per trial", preprocess_seconds)}
    if with_tft:
        name = "wall_time_vs_tensorflow_transform_per_trial"
        peers[name] = ("TensorFlow Transform per trial", tft_seconds(folder))
    for metric, (peer, seconds) in peers.items():
        naive = wall + trials * seconds
        ratio = naive / once
        peer = f"{peer}, {seconds:.2f} s each, from {NAIVE_RUNS} runs"
        report("tune", metric, once, "s", peer=peer, peer_value=naive, ratio=ratio, goal=GOAL, met=ratio >= GOAL)
    mean = study["process_seconds"] / trials
    empty = bookkeeping(folder / "empty", mean)
    share = empty / mean
    report("tune", "seconds_a_trial", mean, "s")
    report("tune", "bookkeeping_a_trial_8_processes", empty, "s", repeats=PROCESSES * EMPTY_TRIALS)
    met = share < OVERHEAD_GOAL
    report("tune", "bookkeeping_over_trial", share, "", ratio=1 / share, goal=OVERHEAD_GOAL, met=met)


def stage(*arguments: object) -> None:
    """A stage as a user runs it."""
    name, *rest = map(str, arguments)
    command = [sys.executable, "-m", "penstock_trainer", name, "--problem", "flights", *rest]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout[-4000:]}")


def naive_preprocessing(raw: Path, folder: Path) -> tuple[float, Path]:
    """(median seconds of the preprocessing stage in a warm process, the dataset)."""
    from penstock_trainer import preprocess

    seconds = []
    for run in range(NAIVE_RUNS + 1):
        began = time.monotonic()
        with contextlib.redirect_stdout(sys.stderr):  # its progress is no figure
            preprocess.run_stage("flights", [str(raw)], folder / f"artifacts-{run}", 0.001)
        seconds.append(time.monotonic() - began)
    (dataset,) = (path.parent for path in (folder / "artifacts-0").glob("dataset/*/manifest.json"))
    return statistics.median(seconds[1:]), dataset


def tft_seconds(folder: Path) -> float:
    """Median seconds of TensorFlow Transform over all rows, less those it takes over the first thousand."""
    import _peers

    numbered, small = folder / "numbered", folder / "small"
    _flights.write(numbered, 1, row_numbers=True)
    _flights.write(small, 1000 / 336_776, row_numbers=True)
    python, script = _peers.python(), Path(__file__).parent / "peers" / "tft_pipeline.py"
    taken: dict[Path, list[float]] = {numbered: [], small: []}
    for run in range(NAIVE_RUNS):
        for rows, seconds in taken.items():
            began = time.monotonic()
            command = [python, script, rows, folder / f"tft-{rows.name}-{run}"]
            subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.monotonic() - began)
    return statistics.median(taken[numbered]) - statistics.median(taken[small])


def bookkeeping(folder: Path, trial_seconds: float) -> float:
    """Mean over the processes of the seconds that one trial's bookkeeping takes beside `trial_seconds` of sleep."""
    command = [sys.executable, __file__, "--empty-study", str(folder), "--trial-seconds", str(trial_seconds)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    started = [subprocess.Popen(command, **quiet) for _ in range(PROCESSES)]
    said = [process.communicate()[0] for process in started]
    assert all(process.returncode == 0 for process in started)
    return statistics.mean(float(out.splitlines()[-1]) for out in said)


@dataclass(frozen=True)
class EmptyEpoch:
    """As `train.Epoch`."""

    number: int
    examples: int
    steps: int
    loss: float
    seconds: float
    validation: dict[str, float]


def empty_study(folder: Path, trial_seconds: float) -> None:
    """One process of the study whose trials sleep: print its seconds a trial beyond the sleep."""
    from penstock_trainer.problem import load_problem
    from penstock_trainer.study import Search, Study
    from penstock_trainer.study_limits import Limits
    from penstock_trainer.study_storage import Journal

    begun = 0

    def learn(hyperparameters: Any, seed: int) -> Iterator[Any]:
        nonlocal begun
        begun += 1
        time.sleep(trial_seconds)
        metrics = {"auc": hyperparameters["learning_rate"], "log_loss": 0.5, "accuracy": 0.5, "base_rate": 0.5}
        yield EmptyEpoch(1, seed, 1, 0.5, 0.0, metrics)

    space = load_problem("flights").search_space()
    search = Search("empty", space, "binary", PROCESSES * EMPTY_TRIALS, 1, Limits())
    study = Study(search, Journal(folder), learn)
    (folder / f"ready-{os.getpid()}").touch()
    while len(list(folder.glob("ready-*"))) < PROCESSES:  # start-up is no bookkeeping: begin together
        time.sleep(0.05)
    began = time.monotonic()
    study.work()
    print((time.monotonic() - began) / begun - trial_seconds)


if __name__ == "__main__":
    main()
