"""An endpoint's listening sockets, and how they pass from one supervisor to the next. Standard library only."""

import shutil
import socket
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from penstock_trainer.errors import InputError

BACKLOG = 2048
PATIENCE_SECONDS = 10.0
MOST_LISTENERS = 2


class Handover:
    """Where a successor is given the listening sockets themselves: what waits in them goes to whoever comes first."""

    def __init__(self, listeners: Sequence[socket.socket]) -> None:
        self._listeners = listeners
        # Not beside the endpoint's files: the path of such a socket may have about 100 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="penstock-"))
        self.path = str(self._folder / "handover")
        self._asked = socket.socket(socket.AF_UNIX)
        self._asked.bind(self.path)
        self._asked.listen()

    def fileno(self) -> int:
        """For selectors: readable when a successor asks."""
        return self._asked.fileno()

    def give(self) -> bool:
        """Give the sockets to the successor that asks; whether it has got them, and is not gone before."""
        try:
            connection, _ = self._asked.accept()
            with connection:
                socket.send_fds(connection, [b"."], [each.fileno() for each in self._listeners])
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Leave no file."""
        self._asked.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def inherit(predecessor: str) -> list[socket.socket]:
    """The listening sockets of the supervisor that hands over at this path.

    Raises:
        OSError: it is gone.
    """
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(PATIENCE_SECONDS)
        asked.connect(predecessor)
        _, descriptors, _, _ = socket.recv_fds(asked, 1, MOST_LISTENERS)
        return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def listen(host: str, port: int, inherited: Sequence[socket.socket], argument: str) -> socket.socket:
    """A listening socket at this port, which `argument` states: an inherited one if there is one, else a new one.

    Raises:
        InputError: the port is taken, or the address is not this machine's.
    """
    for each in inherited:
        if each.getsockname()[1] == port:
            return each
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as exc:
        raise InputError(f"cannot listen on {host}:{port}: {exc.strerror}; choose another {argument}") from exc
    return made


def require_grpc() -> None:
    """Raise InputError where gRPC cannot be answered."""
    if find_spec("grpc") is None:
        raise InputError("--grpc-port takes the package grpcio, which is not here: install penstock-serving[grpc]")
