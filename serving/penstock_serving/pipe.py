"""Carries a connection that was accepted here to the gRPC server of this process, which can listen only by itself.

So the socket that clients connect to stays the supervisor's: what waits in it is lost by no worker's end.
"""

import asyncio
import socket
import time
from typing import cast

SETTLING_SECONDS = 1.0
"""A younger connection may be in the middle of its handshakes."""


class Pipes:
    """The open connections to one gRPC server, which listens on the abstract Unix socket `name`."""

    def __init__(self, name: str) -> None:
        self._address = f"\0{name}"
        self._opened: dict[_End, float] = {}
        self._joining: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._opened)

    def settling(self) -> bool:
        """Whether a client may not know yet that it is connected: who closes now is seen as failing."""
        youngest = max(self._opened.values(), default=0.0)
        return bool(self._joining) or time.monotonic() < youngest + SETTLING_SECONDS

    def join(self, connection: socket.socket) -> None:
        """Carry what comes and goes on this connection from now on; called in the event loop."""
        joining = asyncio.get_running_loop().create_task(self._join(connection))
        self._joining.add(joining)
        joining.add_done_callback(self._joining.discard)

    async def _join(self, connection: socket.socket) -> None:
        inner = socket.socket(socket.AF_UNIX)
        try:
            inner.connect(self._address)
            inner.setblocking(False)
            loop = asyncio.get_running_loop()
            outside = (await loop.connect_accepted_socket(_End, connection))[1]
            inside = (await loop.create_unix_connection(_End, sock=inner))[1]
        except OSError:
            inner.close()
            connection.close()
            return
        self._opened[outside] = time.monotonic()
        outside.closed.add_done_callback(lambda _: self._opened.pop(outside))
        outside.carry_to(inside)
        inside.carry_to(outside)


class _End(asyncio.Protocol):
    """One end of a pipe; it reads no faster than the other one writes."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._other: asyncio.Transport | None = None
        self._early = b""

    def carry_to(self, other: "_End") -> None:
        """From now on; what has come already is first. An end closes when the other one has."""
        self._other = other.transport
        self._other.write(self._early)
        self.closed.add_done_callback(lambda _: other.transport.close())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early += data  # uvloop reads at once, even what has been told to pause
        elif not self._other.is_closing():
            self._other.write(data)

    def pause_writing(self) -> None:
        if self._other is not None:
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None:
            self._other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's)
        if not self.closed.done():
            self.closed.set_result(None)
