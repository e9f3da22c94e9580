"""A server of the benchmark: started, asked, loaded, measured and ended."""

import json
import os
import signal
import statistics
import struct
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _load import Load, Target

PEERS = Path(__file__).resolve().parent / "peers/serving"
START_SECONDS = 180
Row = dict[str, Any]


@dataclass(frozen=True)
class Protocol:
    """Where a server is asked, how a row is put and where its answer is."""

    path: str
    body: Callable[[Row], Any]
    answer: Callable[[Any], float]


@dataclass
class Server:
    """A server that runs, and what was measured of it."""

    name: str
    protocol: Protocol
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    port: int
    loads: list[Load] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """CPU-seconds a request."""
    batch: float = 0.0

    def start(self, row: Row) -> float:
        """Seconds from the start of the process to the first answer."""
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [str(part) for part in self.command],
            env={**os.environ, **self.environment},
            cwd=PEERS,
            stdout=subprocess.DEVNULL,
            stderr=self.log.open("wb"),
            start_new_session=True,
        )
        while time.perf_counter() - began < START_SECONDS and self.process.poll() is None:
            try:
                self.ask(row)
            except OSError:  # refused, or 503 and 404 while it loads
                time.sleep(0.002)
            else:
                return time.perf_counter() - began
        self.stop()
        raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text()[-1500:]}")

    @property
    def log(self) -> Path:
        return Path(self.environment["BATCHES"] + ".log")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.protocol.path}"

    def ask(self, row: Row) -> Any:
        body = json.dumps(self.protocol.body(row)).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def stop(self) -> None:
        """End it and what it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                continue

    def measure(self, target: Target, seconds: int) -> None:
        """One run of the closed loop."""
        before, calls = self.cpu_seconds(), self.batches()
        load = target.closed_loop(seconds)
        self.loads.append(load)
        self.cpu.append((self.cpu_seconds() - before) / load.requests)
        after = self.batches()
        self.batch = (after[1] - calls[1]) / max(1, after[0] - calls[0])

    def cpu_seconds(self) -> float:
        return sum(_cpu(pid) for pid in self._pids()) / os.sysconf("SC_CLK_TCK")

    def mebibytes(self) -> float:
        """Resident memory of all its processes: each page of their own once, of files those of the process with most.

        Not the proportional share: servers that run beside it map the same libraries.
        """
        found = [_resident(pid) for pid in self._pids()]
        return (sum(own for own, _ in found) + max(files for _, files in found)) / 1024

    def pin(self, cores: Iterable[int]) -> None:
        """Let every thread of it run on these cores only."""
        for pid in self._pids():
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), cores)

    def batches(self) -> tuple[int, int]:
        """Calls of the model so far, and rows in them."""
        path = Path(self.environment["BATCHES"])
        if path.exists():
            calls, rows = struct.unpack("<qq", path.read_bytes())
            return calls, rows
        if not self.name.startswith("penstock"):
            return 0, 0
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as response:
            lines = [line.split() for line in response.read().decode().splitlines() if "batch_rows_" in line]
        counts = {line[0].partition("{")[0]: int(float(line[1])) for line in lines if len(line) == 2}
        return counts["penstock_batch_rows_count"], counts["penstock_batch_rows_sum"]

    def _pids(self) -> list[int]:
        found = [self.process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in task.read_text().split()]
        return found

    def median(self, value: Callable[[Load], float]) -> float:
        return statistics.median(map(value, self.loads))


def _cpu(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _resident(pid: int) -> tuple[int, int]:
    """KiB of a process: of its own, pages that a fork shares divided; and of files."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    return fields["Pss_Anon"], fields["Rss"] - fields["Anonymous"]
