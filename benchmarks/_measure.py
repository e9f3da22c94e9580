"""What a process and those it started used: CPU-seconds, and the peak of their memory."""

import os
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """CPU-seconds, user and system, of a process and its ended children; MiB resident, of its tree at its peak."""

    cpu_seconds: float
    peak_mib: float


def usage(command: list[str | Path], *, sample_seconds: float = 0.05) -> Usage:
    """Run a command to its end; what it prints is shown only if it fails.

    Memory is sampled over the tree and is never below the kernel's own record of the largest single process.
    """
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(sample_seconds):
            peak[0] = max(peak[0], _tree_bytes(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed ({process.returncode}):\n{output[-4000:]}")
    return Usage(used.ru_utime + used.ru_stime, max(peak[0], used.ru_maxrss * 1024) / 2**20)


def _tree_bytes(pid: int) -> int:
    try:
        own = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = {child for task in tasks for child in (task / "children").read_text().split()}
    except (OSError, IndexError):  # it has ended meanwhile
        return 0
    return own + sum(_tree_bytes(int(child)) for child in children)
