"""What the kernel is told of a deployment's processes and of those that it starts."""

import os
import sys
from contextlib import suppress

PROCESSORS = "PENSTOCK_PROCESSORS"
"""The environment variable that says to the processes of a deployment which processors all others have."""


def give_way() -> None:
    """Have this process, and those that it starts, take no processor from one that was asleep and has something to do,
    and leave one processor to all others, where there are more.

    A deployment otherwise keeps the servers of its own machine from their clients for milliseconds: who is ready and
    not the next one waits until the clock ticks. Linux, without any right (SCHED_BATCH, sched(7)); elsewhere, and where
    a sandbox forbids it, nothing changes.
    """
    _change(0, "SCHED_OTHER", "SCHED_BATCH")
    if sys.platform == "linux":
        with suppress(OSError):
            every = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, every[1:] or every)
            os.environ[PROCESSORS] = ",".join(map(str, every))


def as_any_other(pid: int) -> None:
    """Undo that for a process just started, which is no part of the deployment: a stage, or a server."""
    _change(pid, "SCHED_BATCH", "SCHED_OTHER")
    if sys.platform == "linux" and PROCESSORS in os.environ:
        with suppress(OSError):
            os.sched_setaffinity(pid, map(int, os.environ[PROCESSORS].split(",")))


def _change(pid: int, present: str, wanted: str) -> None:
    if sys.platform == "linux":
        with suppress(OSError):
            if os.sched_getscheduler(pid) == getattr(os, present):
                os.sched_setscheduler(pid, getattr(os, wanted), os.sched_param(0))
