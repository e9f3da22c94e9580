"""What this process may have of the machine, or of its container, where that has limits."""

import math
import os
import re
import sys
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
"""What holds a container's limits, by the kernel's second version of them."""


def cores() -> int:
    """Processors that this process may use at a time; of a fraction of one, one."""
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota, _, period = _limit("cpu.max").partition(" ")
    return usable if quota in ("", "max") else min(usable, math.ceil(int(quota) / int(period)))


def memory() -> int:
    """Bytes that are free, of the machine's or of what the container may have, whichever is less."""
    try:
        free = int(re.findall(r"^MemAvailable: +(\d+) kB", MEMINFO.read_text(), re.MULTILINE)[0]) << 10
    except OSError:  # not Linux: all that there is
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _limit("memory.max")
    return free if limit in ("", "max") else min(free, int(limit))


def _limit(name: str) -> str:
    try:
        return (CGROUP / name).read_text().strip()
    except OSError:  # no container, or no such limits
        return ""
