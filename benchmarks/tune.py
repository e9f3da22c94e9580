"""A study of 40 trials with bucket counts in the space, beside one that preprocesses for every trial; its bookkeeping.

    trainer/.venv/bin/python benchmarks/tune.py [--trials 40] [--naive-trials 8] [--with-tft]

All flights, an epoch a trial: the stages `preprocess` and `tune` as a user runs them, one process each. The kernel
counts how often raw files are opened meanwhile; a scan is as many openings as one run of `preprocess` makes.

Beside it a naive study, run for real: the same sampler and trials, in one process, but each trial first preprocesses
anew: by Penstock, and with `--with-tft` in another study by TensorFlow Transform. That is `bench-preprocess`'s pipeline
with the trial's bucket counts, in one process that stays, so that it starts once; what it writes is thrown away and the
trial learns from the dataset at hand, as reading examples would take longer. Of `--trials` trials `--naive-trials` are
run, whose mean stands for the others: a naive study's time is that of its start-up and of `--trials` such trials.

Bookkeeping: eight processes share one study over the same space, whose trials sleep as long as a real one takes in the
mean and report an epoch; what their processes take beyond that sleep is bookkeeping.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _flights
from _opens import Opens
from _report import report

PROCESSES = 8
EMPTY_TRIALS = 5  # of each process
GOAL, OVERHEAD_GOAL = 5.0, 0.02
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_USE_LEGACY_KERAS": "1"}


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40, help="trials of the study (default: 40)")
    parser.add_argument("--naive-trials", type=int, default=8, help="of the naive study that are run (default: 8)")
    parser.add_argument(
        "--with-tft", action="store_true", help="run TensorFlow Transform's too (half a minute a trial)"
    )
    parser.add_argument("--naive-study", nargs=3, metavar=("FOLDER", "RAW", "NAME"), help=argparse.SUPPRESS)
    parser.add_argument("--with-dataset", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--empty-study", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--trial-seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    if options.empty_study:
        empty_study(options.empty_study, options.trial_seconds)
        return
    if options.naive_study:
        made, raw, study = options.naive_study
        naive_study(Path(made), Path(raw), study, options.naive_trials, options.with_dataset)
        return
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        measure(Path(name), options.trials, min(options.trials, options.naive_trials), options.with_tft)


def measure(folder: Path, trials: int, naive_trials: int, with_tft: bool) -> None:
    """Run everything in `folder`."""
    raw, artifacts = folder / "raw", ("--artifacts", folder / "artifacts")
    rows = _flights.write(raw, 1)
    with Opens(raw) as opens:
        once = stage("preprocess", "--raw", raw, *artifacts)
    (dataset,) = (path.parent for path in (folder / "artifacts").glob("dataset/*/manifest.json"))
    assert opens.count, "nothing was counted"
    with Opens(raw) as of_study:
        wall = stage("tune", "--dataset", dataset, "--trials", trials, "--epochs", 1, *artifacts)
    once += wall
    (path,) = (folder / "artifacts").glob("study/[0-9a-f]*/study.json")
    name = f"flights-{path.parent.name}"
    with Opens(raw) as of_naive:
        naive = naive_seconds(trials, naive_trials, folder / "naive", raw, name)
    study = json.loads(path.read_text())
    done = [trial for trial in study["trials"] if trial["state"] in ("COMPLETE", "PRUNED")]
    assert len(done) == trials
    assert all(epoch["examples"] == study["trials"][0]["epochs"][0]["examples"] for t in done for epoch in t["epochs"])
    cuts = {tuple(v for k, v in trial["hyperparameters"].items() if k.endswith(".buckets")) for trial in done}
    print(f"{rows:,} rows, {len(cuts)} different sets of bucket counts", file=sys.stderr, flush=True)
    scans = (opens.count + of_study.count) / opens.count
    naive_scans = of_naive.count / opens.count * trials / naive_trials
    run = f"{naive_trials} trials run" + (f", scaled to {trials}" if naive_trials < trials else "")
    own = f"a study that preprocesses in each trial, {run}"
    report(
        "tune", "raw_data_scans", scans, "scans", peer=own, peer_value=naive_scans, ratio=naive_scans / scans, goal=1,
        met=scans == 1,
    )  # fmt: skip
    report("tune", "distinct_bucket_counts", len(cuts), "sets")
    peers = {"wall_time_vs_preprocess_per_trial": (own, naive)}
    if with_tft:
        _flights.write(folder / "numbered", 1, row_numbers=True)
        arguments = (folder / "naive-tft", folder / "numbered", name, "--with-dataset", dataset)
        tft = f"a study with TensorFlow Transform in each trial, {run}"
        peers["wall_time_vs_tensorflow_transform_per_trial"] = (tft, naive_seconds(trials, naive_trials, *arguments))
    for metric, (peer, seconds) in peers.items():
        ratio = seconds / once
        report("tune", metric, once, "s", peer=peer, peer_value=seconds, ratio=ratio, goal=GOAL, met=ratio >= GOAL)
    mean = study["process_seconds"] / trials
    empty = bookkeeping(folder / "empty", mean)
    share = empty / mean
    report("tune", "seconds_a_trial", mean, "s")
    report("tune", "bookkeeping_a_trial_8_processes", empty, "s", repeats=PROCESSES * EMPTY_TRIALS)
    met = share < OVERHEAD_GOAL
    report("tune", "bookkeeping_over_trial", share, "", ratio=1 / share, goal=OVERHEAD_GOAL, met=met)


def stage(*arguments: object) -> float:
    """A stage as a user runs it; its seconds."""
    name, *rest = map(str, arguments)
    began = time.monotonic()
    command = [sys.executable, "-m", "penstock_trainer", name, "--problem", "flights", *rest]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout[-4000:]}")
    return time.monotonic() - began


def naive_seconds(trials: int, run: int, *arguments: object) -> float:
    """Seconds of a study of so many trials that preprocesses in each, from one of which `run` are run."""
    command = [sys.executable, __file__, "--naive-trials", run, "--naive-study", *arguments]
    began = time.monotonic()
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wall = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"the naive study failed:\n{done.stdout[-4000:]}")
    working = float(done.stdout.splitlines()[-1])
    return wall - working + working * trials / run


def naive_study(folder: Path, raw: Path, name: str, trials: int, given: Path | None) -> None:
    """A study each of whose trials preprocesses anew, by TensorFlow Transform where a dataset to learn from is given:
    print the seconds of its trials.
    """
    from penstock_trainer import preprocess
    from penstock_trainer.dataset import Dataset
    from penstock_trainer.problem import load_problem
    from penstock_trainer.study import Search, Study
    from penstock_trainer.study_limits import Limits
    from penstock_trainer.study_storage import Journal
    from penstock_trainer.tune import learning

    problem = load_problem("flights")
    transform = start_transform(raw) if given else None

    def learn(hyperparameters: Any, seed: int) -> Iterator[Any]:
        root = folder / f"trial-{seed}"
        if given and transform:
            dataset = given
            ask_transform(transform, root, hyperparameters)
            shutil.rmtree(root)
        else:
            preprocess.run_stage("flights", [str(raw)], root, 0.001)
            (dataset,) = (path.parent for path in root.glob("dataset/*/manifest.json"))
        yield from learning(problem, Dataset.open(dataset, problem), 1)(hyperparameters, seed)

    search = Search(name, problem.search_space(), problem.label.head, trials, 1, Limits())
    began = time.monotonic()
    Study(search, Journal(folder / "study"), learn).work()
    working = time.monotonic() - began
    if transform:
        transform.communicate(timeout=60)
    print(working)


def start_transform(raw: Path) -> "subprocess.Popen[str]":
    """A process that has started and runs TensorFlow Transform over `raw` as often as it is asked."""
    import _peers

    script = Path(__file__).parent / "peers" / "tft_pipeline.py"
    command = [_peers.python(), script, raw, "--asked"]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def ask_transform(transform: "subprocess.Popen[str]", output: Path, hyperparameters: dict[str, Any]) -> None:
    """Have all rows analysed and transformed into `output` with a trial's bucket counts."""
    assert transform.stdin is not None
    assert transform.stdout is not None
    buckets = {name.removesuffix(".buckets"): v for name, v in hyperparameters.items() if name.endswith(".buckets")}
    print(json.dumps({"output": str(output), "buckets": buckets}), file=transform.stdin, flush=True)
    assert transform.stdout.readline() == "done\n", "TensorFlow Transform failed"
    assert any(output.iterdir())


def bookkeeping(folder: Path, trial_seconds: float) -> float:
    """Mean over the trials of the seconds that one's bookkeeping takes beside `trial_seconds` of sleep; what a process
    waits that finds no trial left is no bookkeeping of a trial.
    """
    command = [sys.executable, __file__, "--empty-study", str(folder), "--trial-seconds", str(trial_seconds)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    started = [subprocess.Popen(command, **quiet) for _ in range(PROCESSES)]
    said = [process.communicate()[0] for process in started]
    assert all(process.returncode == 0 for process in started)
    found = [json.loads(out.splitlines()[-1]) for out in said]
    begun = sum(each["trials"] for each in found)
    assert begun >= PROCESSES * EMPTY_TRIALS
    return sum(each["seconds"] for each in found if each["trials"]) / begun - trial_seconds


def empty_study(folder: Path, trial_seconds: float) -> None:
    """One process of the study whose trials sleep: print how many it ran, and the seconds that took."""
    from penstock_trainer.problem import load_problem
    from penstock_trainer.progress import Epoch
    from penstock_trainer.study import Search, Study
    from penstock_trainer.study_limits import Limits
    from penstock_trainer.study_storage import Journal

    begun = 0

    def learn(hyperparameters: Any, seed: int) -> Iterator[Any]:
        nonlocal begun
        begun += 1
        time.sleep(trial_seconds)
        metrics = {"auc": hyperparameters["learning_rate"], "log_loss": 0.5, "accuracy": 0.5, "base_rate": 0.5}
        yield Epoch(1, seed, 1, {}, 0.5, 0.0, metrics)

    space = load_problem("flights").search_space()
    search = Search("empty", space, "binary", PROCESSES * EMPTY_TRIALS, 1, Limits())
    study = Study(search, Journal(folder), learn)
    (folder / f"ready-{os.getpid()}").touch()
    while len(list(folder.glob("ready-*"))) < PROCESSES:  # start-up is no bookkeeping: begin together
        time.sleep(0.05)
    began = time.monotonic()
    study.work()
    print(json.dumps({"trials": begun, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
