"""A real emulator of Cloud Storage, built from its Go module. Suites of two environments load this file."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import go_programs

from tests.conftest import free_port, listens


@contextmanager
def emulator() -> Iterator[str]:
    """fake-gcs-server, which keeps buckets as Google does, in memory; host and port where it listens."""
    port = free_port()
    host = f"127.0.0.1:{port}"
    command = [str(go_programs.program("fake-gcs-server")), "-backend", "memory", "-scheme", "http"]
    command += ["-host", "127.0.0.1", "-port", str(port), "-public-host", host, "-log-level", "error"]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 60
        while not listens(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield host
    finally:
        process.terminate()
        process.wait()
