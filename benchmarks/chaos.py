"""Trainings whose roles are killed at random: none may be lost, and all must end as the undisturbed one does.

    trainer/.venv/bin/python benchmarks/chaos.py [--runs 50] [--first-seed 1] [--seeds 3,8] [--rows 40000] [--epochs 12]

A slice of the flights, 2 parameter servers, 2 workers and a chief under the local platform's supervisor. An undisturbed
run says how long it takes and what metrics it reaches. Then each run's seed decides how many blows fall (1 to 3), when,
on which role (while the processes start, or while
they train), and whether as SIGKILL or as the SIGTERM of a Spot machine. A run is lost when it does not end well, when
its log-loss or AUC is off by more than `--tolerance`, when its accounting does not add up, or when all roles were
started again in the middle of the training and it does not say after how many seconds it went on. One line a run goes
to standard error with its seed: `--seeds N` repeats it.
"""

import argparse
import json
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _job import TRAINER, RunningJob
from _report import report

ROLES = {"chief": 1, "ps": 2, "worker": 2}
MEMBERS = [f"{role}-{index}" for role, count in ROLES.items() for index in range(count)]
TIMEOUT = 600.0


@dataclass(frozen=True)
class Within:
    """What the undisturbed run reached on the test rows, and how far from it others may end."""

    auc: float
    log_loss: float
    tolerance: float


def main() -> None:
    """Run them, and print how many were lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50, help="disturbed runs (default: 50)")
    parser.add_argument("--first-seed", type=int, default=1, help="seed of the first run (default: 1)")
    parser.add_argument("--seeds", help="the very seeds, with commas between, in place of those two")
    parser.add_argument("--rows", type=int, default=40_000, help="raw rows (default: 40000)")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of each run (default: 12)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.01,
        help="of log-loss and AUC; workers take steps in no fixed order, so undisturbed runs differ, at 40,000 rows by "
        "about 0.002 (default: 0.01)",
    )
    options = parser.parse_args()
    seeds = list(range(options.first_seed, options.first_seed + options.runs))
    if options.seeds:
        seeds = [int(seed) for seed in options.seeds.split(",")]
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        folder = Path(name)
        dataset = prepare(folder, options.rows)
        calm, seconds = undisturbed(folder, dataset, options.epochs)
        within = Within(calm["auc"], calm["log_loss"], options.tolerance)
        lost, pauses = 0, []
        for seed in seeds:
            reason, blows, job = disturbed(folder / f"run-{seed}", dataset, options.epochs, seed, seconds, within)
            lost += bool(reason)
            pauses += resumed_after(job)
            said = {"seed": seed, "blows": blows, "lost": reason, "accounting": accounting(job)}
            said["resumed_after_seconds"] = resumed_after(job)
            print(json.dumps(said), file=sys.stderr, flush=True)
            if reason:
                print(job.output(), file=sys.stderr, flush=True)
    of = f"of {len(seeds)} runs, seeds {named(seeds)}"
    report("chaos", "runs_lost", lost, of, goal=0, met=lost == 0, repeats=len(seeds))
    if pauses:
        report("chaos", "seconds_from_last_steps_to_next", statistics.median(pauses), "s", repeats=len(pauses))
        report("chaos", "seconds_from_last_steps_to_next_at_most", max(pauses), "s", repeats=len(pauses))


def named(seeds: Sequence[int]) -> str:
    """`1 to 50` or `3, 8`."""
    in_a_row = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]} to {seeds[-1]}" if in_a_row else ", ".join(map(str, seeds))


def prepare(folder: Path, rows: int) -> str:
    """The sealed dataset of a slice of the flights."""
    stage = [TRAINER, "-m", "penstock_trainer"]
    where = ["--problem", "flights", "--artifacts", folder / "artifacts"]
    subprocess.run([*stage, "raw", *where, "--rows", str(rows)], check=True, capture_output=True)
    (raw,) = (folder / "artifacts/raw").iterdir()
    subprocess.run([*stage, "preprocess", *where, "--raw", raw], check=True, capture_output=True)
    (dataset,) = (folder / "artifacts/dataset").iterdir()
    return str(dataset)


def start(folder: Path, dataset: str, epochs: int) -> RunningJob:
    """A training of its own, with an artifact store of its own."""
    command = ["train", "--problem", "flights", "--dataset", dataset, "--artifacts", str(folder / "artifacts")]
    command += ["--strategy", "parameter-server", "--epochs", str(epochs)]
    return RunningJob.start(folder, command, ROLES, restarts=10)


def undisturbed(folder: Path, dataset: str, epochs: int) -> tuple[dict[str, float], float]:
    """(test metrics, seconds from the first epoch's end to the last process's) of a run that nobody disturbs."""
    job = start(folder / "undisturbed", dataset, epochs)
    trains = since_training_began(job)
    result = job.result(TIMEOUT)
    seconds = trains()
    print(json.dumps({"undisturbed": result["metrics"]["test"], "seconds": seconds}), file=sys.stderr, flush=True)
    return result["metrics"]["test"], seconds


def disturbed(
    folder: Path, dataset: str, epochs: int, seed: int, seconds: float, within: Within
) -> tuple[str, list[str], RunningJob]:
    """(why the run counts as lost, or nothing; the blows that fell; the job)."""
    job = start(folder, dataset, epochs)
    blows: list[str] = []
    trains: Callable[[], float] | None = None
    for share, member, number in plan(seed):
        moment = share * seconds
        if moment >= 0:  # else it falls while the processes start
            trains = trains or since_training_began(job)
            while trains() < moment and not job.ended():
                time.sleep(0.02)
        if not job.ended() and job.kill(member, number):
            blows.append(f"{number.name} {member} at {moment:.1f} s")
    try:
        result = job.result(TIMEOUT)
    except AssertionError as exc:
        return str(exc).splitlines()[0], blows, job
    return wrong(result, within) or silent(job, epochs), blows, job


def plan(seed: int) -> list[tuple[float, str, signal.Signals]]:
    """What a run's seed decides, in order: after what share of the undisturbed training's time (below 0: while the
    processes start) a blow falls, on whom, and which.
    """
    chance = random.Random(seed)
    blows = [
        (chance.uniform(-0.2, 1.0), chance.choice(MEMBERS), chance.random() < 0.2) for _ in range(chance.randint(1, 3))
    ]
    return [(share, member, signal.SIGTERM if gently else signal.SIGKILL) for share, member, gently in sorted(blows)]


def wrong(result: dict[str, Any], within: Within) -> str:
    """What of a run's result is not as it should be; empty where all is."""
    found, counts = result["metrics"]["test"], result["counts"]
    for name, undisturbed in (("auc", within.auc), ("log_loss", within.log_loss)):
        if abs(found[name] - undisturbed) > within.tolerance:
            return f"{name} is {found[name]:.4f}, undisturbed {undisturbed:.4f}"
    if counts["examples_due"] != counts["training"] * counts["epochs"]:
        return f"due are {counts['examples_due']} examples"
    if (
        not counts["examples_due"]
        <= counts["examples_seen"]
        <= counts["examples_due"] + counts["examples_repeated_at_most"]
    ):
        return f"the accounting does not add up: {counts}"
    return ""


def since_training_began(job: RunningJob) -> Callable[[], float]:
    """Seconds since the job's first epoch was done, once that is so."""
    while "epoch 1 of" not in job.output() and not job.ended():
        time.sleep(0.02)
    began = time.monotonic()
    return lambda: time.monotonic() - began


def silent(job: RunningJob, epochs: int) -> str:
    """Why a run's pauses cannot be all, or nothing: it had one more between its first and its last epoch's end."""
    text = job.output()
    middle = text[text.find("epoch 1 of") : text.find(f"epoch {epochs} of {epochs}")]
    restarts = middle.count("all roles start again")
    # A second loss before the training went on after the first is the same pause.
    if restarts and not resumed_after(job):
        return f"all roles started again {restarts} times in the training, and no pause was seen"
    return ""


def accounting(job: RunningJob) -> str:
    """What the run said of its examples."""
    return next((line for line in job.output().splitlines() if "examples seen of" in line), "")


def resumed_after(job: RunningJob) -> list[float]:
    """Seconds from the last steps before each loss that started all roles again to the first ones after it."""
    return [float(found) for found in re.findall(r"trains again, ([\d.]+) s after", job.output())]


if __name__ == "__main__":
    main()
