"""What clients notice when the model behind the URL is changed: `make bench-swap`, about 10 minutes.

A project of its own trains two models on a slice of the flights. Then, under open-loop load, version 2 is promoted and
rolled back again, each time (a) by `pulumi up` with one changed line of configuration and (b) by the server alone, told
by its plan; and (c) it gets a share of the requests, then their copies in the shadow, by the server alone. A change
counts from the command to its end and two seconds more; the measure is the same server under the same load in the
seconds before it. At last the endpoint is left to go to zero, and the first request is timed.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from _report import report

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "tests"))
from conftest import Project, remove  # noqa: E402 (the engine tests' own)

QUIET_SECONDS = 8.0
AFTER_SECONDS = 2.0
KINDS = ("pulumi", "server", "split", "zero")
ZERO_SECONDS = 0.8
"""From no process to the first answer, with the slim backend."""


class Request(NamedTuple):
    """One that the client sent: when it was due, in seconds of the monotonic clock, and what became of it."""

    due: float
    latency: float
    """Seconds since then."""
    late: float
    """How many of them had passed when it was sent."""
    outcome: str


class Load:
    """A client of a fixed rate in a process of its own."""

    def __init__(self, project: Project, rate: float) -> None:
        samples = next(project.stack_folder.glob("artifacts/models/*/samples.json"))
        self._rows = project.root / "rows.json"
        self._rows.write_text(json.dumps({"instances": json.loads(samples.read_text())["instances"][:1]}))
        self._output = project.root / "load.txt"
        path = f"/v1/models/{project.outputs()['model_name']}:predict"
        script = Path(__file__).with_name("_open_loop.py")
        arguments = [str(project.port), path, str(self._rows), str(rate), str(self._output)]
        # A session of its own, as a client elsewhere would be: the kernel shares out the processors by session.
        self._process = subprocess.Popen([sys.executable, str(script), *arguments], start_new_session=True)

    def end(self) -> list[Request]:
        """All that it asked."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        lines = [line.split("\t") for line in self._output.read_text().splitlines()]
        return [Request(float(due), float(latency), float(late), outcome) for due, latency, late, outcome in lines]


def main() -> None:
    """Print the figures."""
    if Path(sys.prefix) != PROJECT / ".venv":  # `make bench` runs in the trainer's environment
        python = str(PROJECT / ".venv/bin/python")
        os.execv(python, [python, *sys.argv])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of swaps of each kind (default: %(default)s)")
    parser.add_argument("--only", choices=KINDS, help="this kind alone; `pulumi` with other work beside it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        try:
            measure(project, options.rate, options.repeats, options.only)
        finally:
            remove(project)


def measure(project: Project, rate: float, repeats: int, only: str | None) -> None:
    """Two models, then swaps of each kind under load, or of one, then a start from zero."""
    small = {"trials": 1, "strategy": "local"}
    project.configure(**small, traffic="1")
    project.run("up", timeout=1200)
    text = project.problem.read_text()
    changed = re.sub(r"(Bucketized\(\"weekday\", buckets=7), dimension=2\)", r"\1, dimension=3)", text)
    assert changed != text
    project.problem.write_text(changed)
    project.run("up", timeout=1200)

    def by_pulumi(version: str) -> None:
        project.configure(**small, traffic=version)
        project.run("up")

    def by_plan(version: str) -> None:
        change_plan(project, {version: 100})

    def by_share(version: str) -> None:
        change_plan(project, {"1": 70, "2": 30} if version == "2" else {"1": 100, "2": 0})

    if only in (None, "pulumi"):
        seconds = compare(project, "swap", by_pulumi, rate, repeats)
        compare(project, "other_work", lambda _version: compute(seconds), rate, repeats, goal=None)
    if only in (None, "server"):
        compare(project, "hot_load", by_plan, rate, repeats)
    if only in (None, "split"):
        compare(project, "split_and_shadow", by_share, rate, repeats)
    if only in (None, "zero"):
        project.configure(**small, traffic="1", min_replicas=0, idle_seconds=1)
        project.run("up")
        zero = statistics.median(from_zero(project) for _ in range(repeats))
        report("swap", "zero_to_answer", zero, "s", goal=ZERO_SECONDS, met=zero <= ZERO_SECONDS, repeats=repeats)


def compare(
    project: Project, how: str, swap: Callable[[str], None], rate: float, repeats: int, goal: float | None = 1.2
) -> float:
    """The ratios of p99 during each swap to that of the seconds before it, and every failure of the whole run.

    Returns the median seconds of a swap.
    """
    load, spans = Load(project, rate), []
    time.sleep(3)
    for _ in range(repeats):
        for version in ("2", "1"):
            began = time.monotonic()
            time.sleep(QUIET_SECONDS)
            swapping = time.monotonic()
            swap(version)
            time.sleep(AFTER_SECONDS)
            spans.append((began, swapping, time.monotonic()))
    requests = load.end()
    failed = [each.outcome for each in requests if each.outcome != "ok"]
    for outcome in sorted(set(failed)):
        print(f"{failed.count(outcome)} x {outcome}", file=sys.stderr)
    kind = "" if how == "swap" else f"_{how}"
    report("swap", f"failed_requests{kind}", len(failed), "requests", goal=0, met=not failed, repeats=len(requests))
    before = [p99(requests, began, swapping) for began, swapping, _ in spans]
    during = [p99(requests, swapping, ended) for _, swapping, ended in spans]
    ratio = multiple(during, before)
    report("swap", f"p99_before_{how}", statistics.median(before) * 1000, "ms", repeats=len(spans))
    report("swap", f"p99_during_{how}", statistics.median(during) * 1000, "ms", repeats=len(spans))
    met = None if goal is None else ratio <= goal
    report("swap", f"p99_during_{how}_over_before", ratio, "ratio", goal=goal, met=met, repeats=len(spans))
    # Is it the client that the change keeps from its processor?
    before = [p99(requests, began, swapping, of_server=True) for began, swapping, _ in spans]
    during = [p99(requests, swapping, ended, of_server=True) for _, swapping, ended in spans]
    report("swap", f"p99_during_{how}_over_before_since_sent", multiple(during, before), "ratio", repeats=len(spans))
    seconds = statistics.median(ended - swapping - AFTER_SECONDS for _, swapping, ended in spans)
    report("swap", f"seconds_of_{how}", seconds, "s", repeats=len(spans))
    return seconds


def compute(seconds: float) -> None:
    """Keep one processor busy, and give way as a deployment does."""
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def change_plan(project: Project, traffic: dict[str, int]) -> None:
    """Have the server change by itself: its plan with other weights, and a signal."""
    folder = project.stack_folder / "services/flow-serve-server"
    revision = uuid.uuid4().hex
    plan = json.loads((folder / "plan.json").read_text()) | {"traffic": traffic, "revision": revision}
    (folder / "plan.json").write_text(json.dumps(plan))
    pid = int(project.deployment()["flow-serve-server"]["outputs"]["pid"])
    os.kill(pid, signal.SIGHUP)
    while json.loads((folder / f"status.{pid}.json").read_text())["revision"] != revision:
        time.sleep(0.02)


def from_zero(project: Project) -> float:
    """Seconds from the first request after the last worker has gone to its answer."""
    while any("penstock_serving.worker" in line for line in project.processes().values()):
        time.sleep(0.1)
    body = (project.root / "rows.json").read_bytes()
    began = time.monotonic()
    with urllib.request.urlopen(project.outputs()["endpoint"] + ":predict", body, timeout=120) as answer:
        answer.read()
    return time.monotonic() - began


def p99(requests: list[Request], start: float, end: float, *, of_server: bool = False) -> float:
    """The latency that 99 of 100 requests due in this time did not exceed; of the server: since they were sent."""
    latencies = sorted(each.latency - (each.late if of_server else 0) for each in requests if start <= each.due < end)
    return latencies[int(len(latencies) * 0.99)]


def multiple(during: list[float], before: list[float]) -> float:
    """The median of the changes' multiples."""
    return statistics.median(d / b for d, b in zip(during, before, strict=True))


if __name__ == "__main__":
    main()
