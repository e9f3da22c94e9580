"""What watching for skew costs, how soon it finds what changed, and how often it is wrong.

After `make up`: `make bench-skew` (8 minutes). Detection runs on the real flights: two thirds of the rows, drawn at
random, are the training rows, and windows of 1,000 rows are drawn from the others. Drawn at random, not by date:
flights of one week truly differ from those of a year, and such a difference is no false alarm.

The cost is the server's own CPU time a request (user and system) while it watches, with a window that does not end
meanwhile, less that while it does not, on the newest model of the local stack; loaded as `serve.py` loads servers: one
row a request, 32 connections of a compiled generator, which has a core of its own. Two processes of the same server
differ by more than the watching costs, and so does one process from one second to the next: it watches every other
quarter of a second, and stretches that follow each other are compared. What the end of a window costs, whatever it
holds, is measured apart.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from _load import Target
from _report import report
from quality import newest_model
from serve import sample_rows

from penstock_trainer.problems.nycflights import joined
from penstock_trainer.statistics import CategoryStatistics, ColumnStatistics, NumberStatistics

PROJECT = Path(__file__).resolve().parent.parent
WATCHED = PROJECT / "benchmarks/_watched.py"
sys.path.append(str(PROJECT / "serving"))  # its comparison needs no more than the trainer's light core

from penstock_serving.skew.comparison import Rules  # noqa: E402
from penstock_serving.skew.watching import HORIZON, Watch  # noqa: E402
from penstock_serving.skew.windows import Window  # noqa: E402

OUTCOMES = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "time_hour"}
WINDOW_ROWS = 1000
QUIET_WINDOWS = 1000
REPEATS = 20
LONGEST = 60
GOAL_CPU = 0.03
WARM_UP = 40
"""Stretches under load that are not looked at."""

Columns = dict[str, np.ndarray]


def main() -> None:
    """Print a line for each measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts", type=Path, default=Path(".penstock/local/artifacts"))
    parser.add_argument("--windows", type=int, default=QUIET_WINDOWS, help="unchanged windows to judge")
    parser.add_argument("--seconds", type=int, default=30, help="of load on each process")
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--backends", nargs="+", default=["slim", "tensorflow"])
    parser.add_argument("--only", choices=["detection", "cost"])
    arguments = parser.parse_args()
    if arguments.only != "cost":
        detection(arguments.windows)
    if arguments.only != "detection":
        for backend in arguments.backends:
            model = newest_model(arguments.artifacts)
            cost(model, backend, arguments.seconds, arguments.processes)


def detection(windows: int) -> None:
    """False alarms in unchanged windows, and the windows that pass before each change is found."""
    flights, random = columns(), np.random.default_rng(2013)
    order = random.permutation(len(flights["distance"]))
    training, rest = np.split(order, [2 * len(order) // 3])
    watch = Watch({name: statistics_of(values[training]) for name, values in flights.items()}, None, Rules())

    def drawn() -> Columns:
        chosen = random.choice(rest, WINDOW_ROWS, replace=False)
        return {name: values[chosen] for name, values in flights.items()}

    window_cost(watch, drawn())
    states = Counter(status for status, _ in judged(watch, (drawn() for _ in range(windows))))
    rate = states["skew"] / windows
    report("skew", "false_alarm_rate", rate, "of windows", goal=0.01, met=rate <= 0.01, repeats=windows)
    report("skew", "windows_beyond_a_threshold_once", states["moved"] / windows, "of windows", repeats=windows)

    steps: list[int] = []
    for name, column, change in CHANGES:
        delays: list[int] = []
        for _ in range(REPEATS):
            stream = (change(drawn(), max(0, place - 2), random) for place in range(LONGEST))
            found = (p for p, (_, skewed) in enumerate(judged(watch, stream)) if column in skewed)
            delays.append(next(found, LONGEST) - 2)
        report(
            "skew", f"detection_delay_windows_median ({name})", statistics.median(delays), "windows", repeats=REPEATS
        )
        report("skew", f"detection_delay_windows_largest ({name})", max(delays), "windows", repeats=REPEATS)
        steps += delays if name != DRIFT else []
    worst = max(steps)
    report("skew", "detection_delay_windows", worst, "windows at most", goal=3, met=worst <= 3, repeats=len(steps))


def window_cost(watch: Watch, rows: Columns) -> None:
    """CPU milliseconds that judging a window takes: the first of its size, whose noise is simulated, and the next."""
    columns = {name: statistics_of(values) for name, values in rows.items()}
    spent: list[float] = []
    for place in range(20):
        before = time.process_time()
        watch.judge({str(place): Window("flights", 300.0 * place, 300.0 * place + 300, WINDOW_ROWS, dict(columns))})
        spent.append(1000 * (time.process_time() - before))
    report("skew", "cpu_of_first_window_of_a_size", spent[0], "ms")
    report("skew", "cpu_of_next_window_of_a_size", statistics.median(spent[1:]), "ms", repeats=len(spent) - 1)


def judged(watch: Watch, stream: Iterable[Columns]) -> Iterator[tuple[str, set[str]]]:
    """(status, skewed columns) after each window."""
    kept: dict[str, Window] = {}
    for place, rows in enumerate(stream):
        window = Window("flights", 300.0 * place, 300.0 * place + 300, WINDOW_ROWS)
        window.columns = {name: statistics_of(values) for name, values in rows.items()}
        kept[f"{place:05d}"] = window
        kept.pop(f"{place - HORIZON:05d}", None)
        verdict = watch.judge(kept)
        yield verdict.status, {name for name in verdict.since if verdict.column_status(name) == "skew"}


DRIFT = "temp drifts by 0.05 deviations a window"


def _kilometres(rows: Columns, place: int, _random: np.random.Generator) -> Columns:
    return {**rows, "distance": rows["distance"] * np.float32(1.609)} if place else rows


def _gone(rows: Columns, place: int, _random: np.random.Generator) -> Columns:
    return {**rows, "temp": np.full_like(rows["temp"], np.nan)} if place else rows


def _new(rows: Columns, place: int, random: np.random.Generator) -> Columns:
    new = np.where(random.random(WINDOW_ROWS) < 0.03, "HPN", rows["origin"])
    return {**rows, "origin": new.astype(object)} if place else rows


def _drift(rows: Columns, place: int, _random: np.random.Generator) -> Columns:
    return {**rows, "temp": rows["temp"] + np.float32(0.05 * 17.9 * place)}


CHANGES: tuple[tuple[str, str, Callable[[Columns, int, np.random.Generator], Columns]], ...] = (
    ("miles become kilometres", "distance", _kilometres),
    ("a column goes missing", "temp", _gone),
    ("a new category in 3 % of the rows", "origin", _new),
    (DRIFT, "temp", _drift),
)


def columns() -> Columns:
    """The flights' columns that are known before departure: float32, or text in which "" is missing."""
    table, found = joined(), {}
    for name in table.column_names:
        values = table[name].combine_chunks()
        if name in OUTCOMES:
            continue
        if pa.types.is_string(values.type):
            found[name] = np.array([value or "" for value in values.to_pylist()], object)
        else:
            found[name] = np.array(values.to_numpy(zero_copy_only=False), np.float32)
    return found


def statistics_of(values: np.ndarray) -> ColumnStatistics:
    """As the trainer and the server count them."""
    if values.dtype != object:
        return NumberStatistics.of(values)
    counts = Counter(values.tolist())
    missing = counts.pop("", 0)
    return CategoryStatistics.of(counts.keys(), counts.values(), missing)


class Server:
    """One server process of the model that watches in every other stretch of time."""

    def __init__(self, model: Path, folder: Path, backend: str) -> None:
        self._stretches = folder / "stretches.json"
        served = [WATCHED, self._stretches, "--model", model, "--name", "flights", "--port", "0", "--backend", backend]
        watching = ["--window-seconds", "3600", "--observations", folder / "windows"]
        command = ["taskset", "-c", "0", PROJECT / "serving/.venv/bin/python", *served, *watching]
        self._log = (folder / "log").open("w+")
        self.process = subprocess.Popen(command, stderr=self._log)
        while '"event": "ready"' not in (text := self._text()):
            assert self.process.poll() is None, text
            time.sleep(0.1)
        self.url = "http://127.0.0.1:" + re.findall(r'"port": (\d+)', text)[0]

    def _text(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def metric(self, name: str) -> float:
        """Its value so far."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            return float(re.findall(rf"^{name}{{.*}} (.*)", answer.read().decode(), re.MULTILINE)[0])

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()

    def stretches(self) -> list[tuple[bool, float, float, int]]:
        """Of a server that has ended, those under load: whether it watched, CPU seconds of counting, CPU seconds of all
        else, and the rows answered.
        """
        found: list[tuple[bool, float, float, int]] = json.loads(self._stretches.read_text())
        most = max(rows for *_, rows in found)
        return [stretch for stretch in found if stretch[-1] > most / 4][WARM_UP:-1]


def cost(model: Path, backend: str, seconds: int, processes: int) -> None:
    """CPU microseconds a request with and without watching: what answering takes more where rows are taken, by the
    median over pairs of stretches that follow each other, and what counting them takes.
    """
    bodies = _bodies(model)
    taking: list[float] = []
    counting = unwatched = 0.0
    watched_rows = unwatched_rows = 0
    for _ in range(processes):
        with tempfile.TemporaryDirectory() as folder:
            server = Server(model, Path(folder), backend)
            try:
                load = Target(f"{server.url}/v1/models/flights:predict", bodies).closed_loop(seconds, core=1)
                answered = server.metric("penstock_batch_rows_sum")
                rows = answered / server.metric("penstock_batch_rows_count")
                assert not load.failed
                assert 0.3 < server.metric("penstock_observed_rows") / answered < 0.7, "each other stretch is watched"
                assert not server.metric("penstock_unobserved_rows"), "what is not counted costs nothing"
            finally:
                server.end()
            stretches = server.stretches()
        for (one, _, cpu, size), (other, _, other_cpu, other_size) in pairwise(stretches):
            if one != other:
                difference = 1e6 * (cpu / size - other_cpu / other_size)
                taking.append(difference if one else -difference)
        counting += 1e6 * sum(seconds for _, seconds, _, _ in stretches)
        unwatched += 1e6 * sum(seconds for watched, _, seconds, _ in stretches if not watched)
        watched_rows += sum(size for watched, *_, size in stretches if watched)
        unwatched_rows += sum(size for watched, *_, size in stretches if not watched)
    report("skew", f"rows_a_call_{backend}", rows, "rows")
    taken, repeats = statistics.median(taking), len(taking)
    ranked, away = sorted(taking), 0.5 / repeats**0.5  # one standard error of the share of pairs below their median
    error = (ranked[int(repeats * (0.5 + away))] - ranked[int(repeats * (0.5 - away))]) / 2
    without, counted = unwatched / unwatched_rows, counting / watched_rows
    difference = taken + counted
    peer = "the same server without watching"
    report("skew", f"cpu_per_request_{backend}", without + difference, "us", peer=peer, peer_value=without,
           ratio=without / (without + difference), repeats=repeats)  # fmt: skip
    share = difference / without
    report("skew", f"share_of_cpu_{backend}", share, "of the CPU", goal=GOAL_CPU, met=share < GOAL_CPU, repeats=repeats)
    report("skew", f"taking_per_request_{backend}", taken, "us", repeats=repeats)
    report("skew", f"taking_per_request_standard_error_{backend}", error, "us", repeats=repeats)
    report("skew", f"counting_per_request_{backend}", counted, "us", repeats=repeats)


def _bodies(model: Path) -> list[bytes]:
    """Distinct requests of one row each."""
    schema = json.loads((model / "schema.json").read_text())
    return [json.dumps({"instances": [row]}).encode() for row in sample_rows(schema)]


if __name__ == "__main__":
    main()
