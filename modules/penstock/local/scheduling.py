"""What the kernel is told of a deployment's processes and of those that it starts."""

import os
import sys


def give_way() -> None:
    """Have this process, and those that it starts, take no processor from one that was asleep and has something to do.

    A deployment otherwise keeps the servers of its own machine from their clients for milliseconds. Its share of the
    processors stays the same. Linux, without any right (SCHED_BATCH, sched(7)); elsewhere nothing changes.
    """
    if sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def as_any_other(pid: int) -> None:
    """Undo that for a process just started, which is no part of the deployment: a stage, or a server."""
    if sys.platform == "linux" and os.sched_getscheduler(pid) == os.SCHED_BATCH:
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
