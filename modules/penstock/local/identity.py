"""Which process is meant: a pid alone is reused, so it goes together with the time the process started."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class ProcessIdentity:
    """One process, told apart from a later one with the same pid."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """The process that has this pid now; None when there is none, or only a zombie."""
        try:
            process = psutil.Process(pid)
            # A zombie whose other threads have yet to end still has its files open, a listening socket among them.
            if process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1:
                return None
            return cls(pid, _start_mark(process))
        except (psutil.NoSuchProcess, FileNotFoundError):
            return None

    def alive(self) -> bool:
        """Whether this very process is still running."""
        return ProcessIdentity.of(self.pid) == self

    def end(self, grace_seconds: float) -> None:
        """Ends the process and, where it leads a process group, the whole group: SIGTERM, then SIGKILL."""
        if not self.alive():
            return
        deadline = time.monotonic() + grace_seconds
        _signal(self.pid, signal.SIGTERM)
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        if self.alive():
            _signal(self.pid, signal.SIGKILL)
        while self.alive() and time.monotonic() < deadline + 5:
            time.sleep(0.05)


def _start_mark(process: psutil.Process) -> float:
    """Linux: clock ticks since boot, since psutil's wall-clock time moves whenever the clock is set."""
    stat = Path(f"/proc/{process.pid}/stat")
    if stat.exists():
        return float(stat.read_text().rpartition(")")[2].split()[19])
    return process.create_time()


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        pass
