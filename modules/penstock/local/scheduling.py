"""What the kernel is told of a deployment's processes and of those that it starts."""

import os
import sys
from contextlib import suppress


def give_way() -> None:
    """Have this process, and those that it starts, take no processor from one that was asleep and has something to do.

    A deployment otherwise keeps the servers of its own machine from their clients for milliseconds. Its share of the
    processors stays the same. Linux, without any right (SCHED_BATCH, sched(7)); elsewhere, and where a sandbox forbids
    it, nothing changes.
    """
    _change(0, "SCHED_OTHER", "SCHED_BATCH")


def as_any_other(pid: int) -> None:
    """Undo that for a process just started, which is no part of the deployment: a stage, or a server."""
    _change(pid, "SCHED_BATCH", "SCHED_OTHER")


def _change(pid: int, present: str, wanted: str) -> None:
    if sys.platform == "linux":
        with suppress(OSError):
            if os.sched_getscheduler(pid) == getattr(os, present):
                os.sched_setscheduler(pid, getattr(os, wanted), os.sched_param(0))
