"""An endpoint's listening socket, and how it passes from one supervisor to the next. Standard library only."""

import shutil
import socket
import tempfile
from pathlib import Path

BACKLOG = 2048
PATIENCE_SECONDS = 10.0


class Handover:
    """Where a successor is given the listening socket itself: what waits in it is accepted by whoever comes first."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        # Not beside the endpoint's files: the path of such a socket may have about 100 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="penstock-"))
        self.path = str(self._folder / "handover")
        self._asked = socket.socket(socket.AF_UNIX)
        self._asked.bind(self.path)
        self._asked.listen()

    def fileno(self) -> int:
        """For selectors: readable when a successor asks."""
        return self._asked.fileno()

    def give(self) -> None:
        """Give the socket to the successor that asks."""
        connection, _ = self._asked.accept()
        with connection:
            socket.send_fds(connection, [b"."], [self._listener.fileno()])

    def close(self) -> None:
        """Leave no file."""
        self._asked.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def listen(host: str, port: int, predecessor: str | None) -> socket.socket:
    """The endpoint's listening socket: that of the predecessor that hands over at this path, or a new one.

    Raises:
        OSError: the port is taken, the address is not this machine's, or the predecessor is gone.
    """
    if predecessor is not None:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(PATIENCE_SECONDS)
            asked.connect(predecessor)
            _, (descriptor,), _, _ = socket.recv_fds(asked, 1, 1)
            return socket.socket(fileno=descriptor)
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
    made.listen(BACKLOG)
    return made
