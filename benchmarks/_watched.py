"""`python -m penstock_serving ...` which stops watching for skew at SIGUSR1 and goes on at SIGUSR2."""

import runpy
import signal

from penstock_serving.skew.monitor import SkewMonitor


def watch(number: int, _frame: object) -> None:
    """A server asks `if self.skew` before it does anything for it."""
    SkewMonitor.__bool__ = lambda _: number == signal.SIGUSR2  # pyright: ignore[reportAttributeAccessIssue]


for number in (signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, watch)
runpy.run_module("penstock_serving", run_name="__main__", alter_sys=True)
