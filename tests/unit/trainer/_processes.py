"""Processes that a test starts and watches."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def starting() -> Iterator[Any]:
    """A function that starts Python with the given arguments and, besides this process's, `environment`; all that it
    started is gone afterwards.
    """
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


def read_until(process: "subprocess.Popen[str]", said: str) -> str:
    """The first line with `said` in it of what the process prints."""
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if said in line:
            return line
    raise AssertionError(f"ended ({process.wait()}) before it said {said!r}:\n{''.join(lines)}")
