"""What supervisor and worker tell each other: JSON, a line each, over a pair of sockets. Standard library only.

The supervisor says `{"serve": ...}` first (name and versions, how to direct requests), then `{"direct": ...}`
(weights, shadow), `{"traffic": ...}` (what to tell people), `{"leave": N}` (send N connections elsewhere) and
`{"drain": SECONDS}`. The worker says `{"ready": ...}` or `{"failed": message, "version": number}`, then
`{"report": ...}` twice a second, and `{"scrape": ...}` with its metrics where it is asked for those of all, which the
supervisor answers by `{"totals": ...}`. The end of one is the end of the line for the other.
"""

import json
import socket
from contextlib import suppress
from typing import Any

BACKLOG_BYTES = 2**20
"""What an end that does not read is kept for; then messages are dropped."""


class Link:
    """One end; it never blocks."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._arriving = b""
        self._leaving = b""

    def fileno(self) -> int:
        """For selectors and event loops."""
        return self._end.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, now or when the other end has read what went before."""
        if len(self._leaving) < BACKLOG_BYTES:
            self._leaving += json.dumps(message).encode() + b"\n"
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._leaving:
                self._leaving = self._leaving[self._end.send(self._leaving) :]

    def receive(self) -> list[dict[str, Any]]:
        """What has arrived.

        Raises:
            EOFError: the other end is gone.
        """
        gone = False
        with suppress(BlockingIOError):
            try:
                while part := self._end.recv(65536):
                    self._arriving += part
                gone = True
            except ConnectionResetError:
                gone = True
        *lines, self._arriving = self._arriving.split(b"\n")
        if gone and not lines:
            raise EOFError("the other end is gone")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close this end."""
        self._end.close()
