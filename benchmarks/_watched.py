"""`python -m penstock_serving ...` which watches for skew in every other stretch of time.

`_watched.py FILE ...`: when it ends, FILE has a JSON list of each stretch: whether it was watched, the CPU seconds of
the thread that counts in it, those of all the process does besides, and the rows answered.
"""

import atexit
import json
import runpy
import signal
import sys
import threading
import time
from functools import cache
from pathlib import Path

from penstock_serving.served import ServedModel
from penstock_serving.skew.monitor import SkewMonitor

STRETCH_SECONDS = 0.05
"""So short that the machine's speed, which changes several times a second, is most often the same in two of them. What
was observed is counted later, by a thread whose clock tells what that takes.
"""

file = Path(sys.argv.pop(1))
stretches: list[tuple[bool, float, float, int]] = []
watched, rows, before = True, 0, (0.0, 0.0)
answered = ServedModel._answered  # pyright: ignore[reportPrivateUsage]


def count(self: ServedModel, columns: object, predictions: list[object], size: int) -> None:
    """Count the rows, whether watched or not."""
    global rows
    rows += len(predictions)
    answered(self, columns, predictions, size)  # pyright: ignore[reportArgumentType]


@cache
def clock() -> int:
    """That of the thread that counts."""
    (thread,) = (each for each in threading.enumerate() if each.name == "observe")
    assert thread.ident is not None
    return time.pthread_getcpuclockid(thread.ident)


def alternate(_number: int, _frame: object) -> None:
    """The stretch is over. Each kind comes as often before the other as after it."""
    global watched, rows, before
    if rows:
        counting = time.clock_gettime(clock())
        now = counting, time.process_time() - counting
        stretches.append((watched, now[0] - before[0], now[1] - before[1], rows))
        watched, rows, before = len(stretches) % 4 in (1, 2), 0, now


ServedModel._answered = count  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
# A server asks `if self.skew` before it does anything for it.
SkewMonitor.__bool__ = lambda _: watched  # pyright: ignore[reportAttributeAccessIssue]
signal.signal(signal.SIGALRM, alternate)
signal.setitimer(signal.ITIMER_REAL, STRETCH_SECONDS, STRETCH_SECONDS)
atexit.register(lambda: file.write_text(json.dumps(stretches)))
runpy.run_module("penstock_serving", run_name="__main__", alter_sys=True)
