"""What a process and those it started used: CPU-seconds, and the peak of their memory."""

import os
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.25


@dataclass(frozen=True)
class Usage:
    """CPU-seconds, user and system, of a process and its ended children; MiB resident at the peak."""

    cpu_seconds: float
    peak_mib: float


def usage(command: list[str | Path], *, memory: bool = False) -> Usage:
    """Run a command to its end; what it prints is shown only if it fails.

    The memory is the kernel's record of the largest single process; with `memory`, it is also sampled over the tree.
    """
    process = subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},  # what is compiled is kept, whatever this shell says
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while memory and not ended.wait(SAMPLE_SECONDS):
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
    """Resident bytes of a process and its children, a page that several share divided among them."""
    try:
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = {child for task in tasks for child in (task / "children").read_text().split()}
    except OSError:  # it has ended meanwhile
        return 0
    own = int(fields["Pss"].split()[0]) * 1024 if fields else 0
    return own + sum(_tree_bytes(int(child)) for child in children)
