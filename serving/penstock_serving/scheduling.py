"""What the kernel is told of a process that answers clients."""

import ctypes
import logging
import os
import platform
import struct

SLICE_NANOSECONDS = 100_000
"""The shortest that Linux takes; a small batch is answered within it."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_ATTRIBUTES = "=IIQiIQQQII"
"""`struct sched_attr`: size, policy, flags, nice, priority, runtime, deadline, period, and two of utilisation."""

logger = logging.getLogger("penstock_serving")


def answer_promptly() -> bool:
    """Have this thread, and those that it starts, wake at once though others keep the processors busy.

    A thread that asks for short slices takes the place of one with longer ones when there is something to do, and gets
    no larger share for it. Linux from 6.12 on, without any right; elsewhere nothing changes, and the answer is False.
    """
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
