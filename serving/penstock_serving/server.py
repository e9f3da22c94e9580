"""The HTTP server: uvicorn with a listening socket that a successor can share, and a drain that loses nothing."""

import asyncio
import contextlib
import errno
import logging
import math
import socket
import time
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn

from penstock_serving.app import Application
from penstock_serving.messages import encode
from penstock_serving.protocol import PatientProtocol
from penstock_serving.scheduling import answer_promptly
from penstock_serving.served import ServedModel
from penstock_serving.versions import Versions
from penstock_trainer.errors import InputError

if typing.TYPE_CHECKING:
    import ssl

    from penstock_serving.grpc_server import GrpcServer

logger = logging.getLogger("penstock_serving")
BACKLOG = 2048
QUIET_SECONDS = 2.0
"""How long a stopping server answers on open connections before it closes the idle ones."""
HANDSHAKE_SECONDS = 5.0
DRAIN_SECONDS = 8
"""After this long a stopping server gives up the requests that are still in flight."""
SETTLING_SECONDS = 10.0
"""So long a loaded server lets those before it answer while it reads and judges what they have observed."""
REHEARSED, REHEARSAL_SECONDS = 64, 0.5
"""So many requests of each version, or so long."""


@dataclass(frozen=True)
class Listener:
    """A bound socket; `shared` if another server listens on its port already, which this one is to succeed."""

    socket: socket.socket
    shared: bool


def bind(host: str, port: int, argument: str = "--port") -> Listener:
    """A socket with SO_REUSEPORT, so that a successor's may share its port, which `argument` states.

    Raises:
        InputError: a program that does not share has the port, or the address is not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = _socket(family, sharing=False)
        try:
            bound.bind(address)
            shared = False
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
            shared = True
        bound.close()
        bound = _socket(family, sharing=True)
        bound.bind(address)
    except OSError as exc:
        raise InputError(
            f"cannot listen on {host}:{port}: {exc.strerror}; choose another {argument} or --host"
        ) from exc
    return Listener(bound, shared)


def _socket(family: int, sharing: bool) -> socket.socket:
    """A TCP socket that may take a port whose last connections still linger, and one in use if that is shared too."""
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sharing:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return made


class Server(uvicorn.Server):
    """Serves one application; after `run`, `failure` is what kept its model from loading, if anything did."""

    def __init__(
        self,
        application: Application,
        succeeds: bool,
        tls: "ssl.SSLContext | None" = None,
        beside: "GrpcServer | None" = None,
    ) -> None:
        """`succeeds`: another server listens on the port until this one is ready. Without `tls`, in plain text.

        `beside`: answers gRPC from when this one listens until it stops.
        """
        super().__init__(
            uvicorn.Config(
                application,  # pyright: ignore[reportArgumentType] (its ASGI types are plainer than uvicorn's)
                http=PatientProtocol,
                loop="uvloop",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=DRAIN_SECONDS,
                ssl_context_factory=None if tls is None else lambda _config, _default: tls,
            )
        )
        self._application = application
        self._succeeds = succeeds
        self._beside = beside
        self._rehearses = succeeds
        """Whether others answer while this one gets ready, so that there is time for it."""
        self.quiet_seconds = QUIET_SECONDS
        self.failure: Exception | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then load: a probe finds the process alive, and a client waits instead of being refused.

        A successor loads first: while it cannot answer yet, the server before it gets all requests.
        """
        versions = self._application.versions
        if self._succeeds:
            versions.start(self._fail)
            await self._until(lambda: versions.available)
            if self._rehearses:
                await self._until(lambda: versions.settled, SETTLING_SECONDS)
                if not self.should_exit:
                    await self._rehearse()
            if not self.should_exit:
                await self._start_listening(sockets)
        else:
            await self._start_listening(sockets)
            versions.start(self._fail)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what has been sent, tell each client to go elsewhere, and close."""
        self._application.draining = True
        self._application.versions.give_up()
        await self._stop_listening(sockets or [])
        quiet = time.monotonic() + self.quiet_seconds
        while self._has_clients() and time.monotonic() < quiet:
            await asyncio.sleep(0.01)
        if self._beside is not None:
            await self._beside.stop(DRAIN_SECONDS)
        await super().shutdown(sockets)
        self._stop_models()

    def _stop_models(self) -> None:
        """Called when no request is in flight any more."""
        self._application.versions.stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn does, but without raising the signal again afterwards: a drained server has exited well."""
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()

    async def _until(self, reached: Callable[[], bool], seconds: float = math.inf) -> None:
        """Return when something is so, or the time is over, or the server is to end."""
        over = time.monotonic() + seconds
        while not reached() and not self.should_exit and time.monotonic() < over:
            await asyncio.sleep(0.02)

    async def _rehearse(self) -> None:
        """A process's first requests are its slowest: ask them of oneself, from the socket to the answer.

        The server that is asked has this one's loaded models and nothing else of it, so nobody is counted.
        """
        for served in self._application.versions:
            began, model = time.perf_counter(), served.rehearsal()
            stage = Server(Application(Versions([model])), succeeds=False)
            stage.config.load()
            ours, its = socket.socketpair()
            its.setblocking(False)
            await stage._connect(its)
            asked = await _ask_samples(model, ours)
            model.stop()
            fields = {"version": served.version, "requests": asked, "seconds": round(time.perf_counter() - began, 3)}
            logger.info("rehearsed", extra={"fields": fields})

    async def _start_listening(self, sockets: list[socket.socket] | None) -> None:
        answer_promptly()
        await super().startup(sockets)
        logger.info("listening")
        if self._beside is not None:
            try:
                await self._beside.start()
            except InputError as exc:
                self._fail(exc)

    async def _stop_listening(self, listeners: list[socket.socket]) -> None:
        """Stop accepting, without resetting the connections that the kernel has accepted already.

        Closing a listening socket resets what waits in its backlog, so a duplicate keeps it open until that is empty.
        """
        spares = [listener.dup() for listener in listeners]
        for listener in [*self.servers, *listeners]:
            listener.close()
        for spare in spares:
            spare.setblocking(False)
            with spare:
                waiting = list(_accept_all(spare))
            await asyncio.gather(*map(self._connect, waiting))

    def _has_clients(self) -> bool:
        return bool(self.server_state.connections)

    async def _connect(self, connection: socket.socket) -> None:
        """Answer on a connection that was accepted; one that does not speak TLS where it should is closed."""
        tls, seconds = self.config.ssl, HANDSHAKE_SECONDS if self.config.ssl else None
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, connection, ssl=tls, ssl_handshake_timeout=seconds
            )

    def _protocol(self) -> PatientProtocol:
        return PatientProtocol(config=self.config, server_state=self.server_state, app_state={})

    def _fail(self, failure: Exception) -> None:
        self.failure = failure
        self.should_exit = True


def _accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    """What waits in the backlog of a non-blocking listener."""
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection


async def _ask_samples(model: ServedModel, connection: socket.socket) -> int:
    """Ask for the sample rows one by one, over this connection to a server that has the model; how many were asked."""
    reader, writer = await asyncio.open_connection(sock=connection)
    samples, asked = model.sealed.samples["instances"], 0
    ends = time.perf_counter() + REHEARSAL_SECONDS
    while asked < REHEARSED and time.perf_counter() < ends:
        body = encode({"instances": [samples[asked % len(samples)]]})
        head = b"POST /v1/models/%b:predict HTTP/1.1\r\nhost: rehearsal\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % (model.name.encode(), len(body)) + body)
        _, _, length = (await reader.readuntil(b"\r\n\r\n")).partition(b"content-length: ")
        await reader.readexactly(int(length.split()[0]))
        asked += 1
    writer.close()
    return asked
