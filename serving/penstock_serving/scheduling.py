"""What the kernel, the C library and the interpreter are told of a process that answers clients."""

import ctypes
import logging
import os
import platform
import struct
import sys
from contextlib import suppress

SLICE_NANOSECONDS = 500_000
"""Shorter than Linux's own (0.7 ms and more), and long enough to answer a small batch: whoever's slice is over when the
clock ticks waits, where somebody else is ready, for the next tick, 4 ms later."""
SWITCH_SECONDS = 0.0005
"""After so long a thread lets another have the interpreter that asks for it, a tenth of Python's own time.

The event loop asks for it while another thread counts rows and judges windows.
"""
_ARENA_MAX = -8
"""Of glibc's `mallopt`: `M_ARENA_MAX`."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_ATTRIBUTES = "=IIQiIQQQII"
"""`struct sched_attr`: size, policy, flags, nice, priority, runtime, deadline, period, and two of utilisation."""

logger = logging.getLogger("penstock_serving")


def answer_promptly() -> bool:
    """Have this thread, and those that it starts, wake at once though others keep processors or interpreter busy.

    A thread that asks for short slices takes the place of one with longer ones when there is something to do, and gets
    no larger share for it. Linux from 6.12 on, without any right; elsewhere no slice changes, and the answer is False.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    number = _SCHED_SETATTR.get(platform.machine())
    if os.uname().sysname != "Linux" or number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    size = struct.calcsize(_ATTRIBUTES)
    attributes = struct.pack(_ATTRIBUTES, size, os.SCHED_OTHER, 0, nice, 0, SLICE_NANOSECONDS, 0, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    taken = libc.syscall(number, 0, attributes, 0) == 0
    if not taken:
        logger.info("slices stay as they are", extra={"fields": {"reason": os.strerror(ctypes.get_errno())}})
    return taken


def share_one_heap() -> None:
    """Have all threads allocate from one heap, where glibc would give each its own: a MiB that nobody uses again.

    Before there are other threads, and where these rarely allocate at the same time. Other C libraries have one anyhow.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
