"""`python -m penstock_serving ...` which watches for skew in every other stretch of time.

`_watched.py FILE ...`: when it ends, FILE has a JSON list of each stretch: whether it was watched, the CPU seconds of
the whole process in it, and the rows answered.
"""

import atexit
import json
import runpy
import signal
import sys
import time
from pathlib import Path

from penstock_serving.served import ServedModel
from penstock_serving.skew.monitor import SkewMonitor

STRETCH_SECONDS = 0.25
"""So short that the machine's speed is the same in two, one after the other; a block of observed rows is counted in
the one that fills it."""

file = Path(sys.argv.pop(1))
stretches: list[tuple[bool, float, int]] = []
watched, rows, began = True, 0, 0.0
answered = ServedModel._answered  # pyright: ignore[reportPrivateUsage]


def count(self: ServedModel, columns: object, predictions: list[object], size: int) -> None:
    """Count the rows, whether watched or not."""
    global rows
    rows += len(predictions)
    answered(self, columns, predictions, size)  # pyright: ignore[reportArgumentType]


def alternate(_number: int, _frame: object) -> None:
    """The stretch is over. Each kind comes as often before the other as after it."""
    global watched, rows, began
    now = time.process_time()
    stretches.append((watched, now - began, rows))
    watched, rows, began = len(stretches) % 4 in (1, 2), 0, now


ServedModel._answered = count  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
# A server asks `if self.skew` before it does anything for it.
SkewMonitor.__bool__ = lambda _: watched  # pyright: ignore[reportAttributeAccessIssue]
signal.signal(signal.SIGALRM, alternate)
signal.setitimer(signal.ITIMER_REAL, STRETCH_SECONDS, STRETCH_SECONDS)
atexit.register(lambda: file.write_text(json.dumps(stretches)))
runpy.run_module("penstock_serving", run_name="__main__", alter_sys=True)
