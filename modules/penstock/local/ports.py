"""Ports of this machine: which are free, and who holds one that is not."""

import random
import socket
from collections.abc import Iterator
from contextlib import closing

import psutil

LOWEST, HIGHEST = 20_000, 32_767
"""Below the ephemeral range: above it, a restarted server may find its port given to somebody's connection."""


def is_free(host: str, port: int) -> bool:
    """Whether a server could bind the port now."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        # Without it, connections of a server that is gone (TIME_WAIT) would make the port look used.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(host: str, count: int) -> list[int]:
    """`count` different free ports below the ephemeral range."""
    found: list[int] = []
    candidates = _shuffled()
    while len(found) < count:
        port = next(candidates)
        if is_free(host, port):
            found.append(port)
    return found


def holder(port: int) -> str:
    """Who listens on the port, as far as this user may know: `python (pid 123)`, or `another process`."""
    for process in psutil.process_iter(["pid", "name"]):
        try:
            listens = any(
                connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
                for connection in process.net_connections(kind="tcp")
            )
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        if listens:
            return f"{process.info['name']} (pid {process.pid})"
    return "another process"


def _shuffled() -> Iterator[int]:
    ports = list(range(LOWEST, HIGHEST + 1))
    random.shuffle(ports)
    return iter(ports)
