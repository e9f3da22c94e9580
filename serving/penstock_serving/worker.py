"""One of the server processes that share a listening socket: `python -m penstock_serving.worker LISTENER LINK ...`.

The supervisor starts it with the file descriptors of both, and tells it over the link what to serve. It accepts no
connection before it can answer: until then they wait with the kernel, or are answered by the workers before it.
"""

import argparse
import asyncio
import errno
import logging
import os
import secrets
import select
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock_serving import server
from penstock_serving.access import Access, access_of, add_access
from penstock_serving.app import Application
from penstock_serving.cli import add_deadline, end, load_version
from penstock_serving.link import Link
from penstock_serving.logs import set_up_logs
from penstock_serving.metrics import Metrics
from penstock_serving.pipe import Pipes
from penstock_serving.routing import Routes
from penstock_serving.seal import add_verify_key
from penstock_serving.served import ServedModel
from penstock_serving.skew.arguments import add_monitoring, monitoring_of
from penstock_serving.totals import Snapshot
from penstock_serving.versions import Versions
from penstock_serving.yielding import LOADING, RATE_SECONDS, yield_session
from penstock_trainer.errors import InputError

if TYPE_CHECKING:
    from penstock_serving.grpc_server import GrpcServer

REPORT_SECONDS = 0.5
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE_SECONDS = 1.0
"""For so long a worker that has nothing left to accept a connection with leaves them to the others."""
GRPC_CONNECTION_SECONDS = 4.0
"""So long a client of gRPC stays with one worker: less than a worker that leaves has for its clients."""
YIELDING_STEPS, YIELDING_SECONDS = (LOADING, 10, 5), 10.0
"""A worker that loads while others answer, or ends, has these priorities, each for so long."""

logger = logging.getLogger("penstock_serving")


class Worker(server.Server):
    """Listens on a socket that others listen on too, and does what the supervisor says."""

    def __init__(
        self,
        versions: Versions,
        access: Access,
        listeners: Sequence[socket.socket],
        link: Link,
        yielding: "_Yielding | None",
    ) -> None:
        """`listeners`: for REST, then for gRPC if that is answered too. `yielding`: to others who answer meanwhile."""
        application = Application(versions, access.tokens)
        application.totals = self._totals
        self._name = f"penstock-{os.getpid()}-{secrets.token_hex(8)}"
        self._pipes = Pipes(self._name)
        beside = self._grpc_server(application, access) if listeners[1:] else None
        super().__init__(application, succeeds=True, tls=access.tls, beside=beside)
        self._yielding, self._rehearses = yielding, yielding is not None
        self._listeners = dict(zip(listeners, (self._connect_rest, self._pipes.join), strict=False))
        self._link = link
        self._leaves = False
        self._asking: list[asyncio.Future[Snapshot]] = []
        self._connecting: set[asyncio.Future[Any]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load, say so, accept."""
        asyncio.get_running_loop().add_reader(self._link.fileno(), self._told)
        await super().startup(sockets)
        if not self.should_exit:
            self._link.send({"ready": {}})
            self._report()

    async def _start_listening(self, sockets: list[socket.socket] | None) -> None:  # noqa: ARG002 (the supervisor's)
        if self._yielding is not None:
            self._yielding.end()
        await super()._start_listening([])
        for listener, connect in self._listeners.items():
            listener.setblocking(False)
            self._listen(listener, connect)

    async def _stop_listening(self, listeners: list[socket.socket]) -> None:  # noqa: ARG002 (the supervisor's)
        """What waits to be accepted is another worker's: the sockets stay open with the supervisor."""
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener.fileno())
            listener.close()
        while self._pipes.settling():
            await asyncio.sleep(0.01)

    def _has_clients(self) -> bool:
        return super()._has_clients() or len(self._pipes) > 0

    def _listen(self, listener: socket.socket, connect: Callable[[socket.socket], None]) -> None:
        if not self.should_exit and listener.fileno() >= 0:  # else it left during a pause
            asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener, connect)

    def _accept(self, listener: socket.socket, connect: Callable[[socket.socket], None]) -> None:
        """One connection a turn of the loop, so that a burst of them is shared among the workers."""
        try:
            connection, _ = listener.accept()
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connect(connection)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            pass
        except OSError as exc:
            if exc.errno not in EXHAUSTED:
                raise
            logger.warning("accepts no connections for a while", extra={"fields": {"error": exc.strerror}})
            asyncio.get_running_loop().remove_reader(listener.fileno())
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._listen, listener, connect)

    def _connect_rest(self, connection: socket.socket) -> None:
        connecting = asyncio.get_running_loop().create_task(self._connect(connection))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)

    def _grpc_server(self, application: Application, access: Access) -> "GrpcServer":
        from penstock_serving.grpc_server import GrpcServer

        return GrpcServer(application, f"unix-abstract:{self._name}", access, GRPC_CONNECTION_SECONDS)

    async def _totals(self) -> Snapshot:
        """The metrics of all workers, of this one as they are now."""
        asked: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        self._asking.append(asked)
        self._link.send({"scrape": self._application.versions.metrics.snapshot()})
        return await asked

    def _told(self) -> None:
        try:
            messages = self._link.receive()
        except EOFError:
            asyncio.get_running_loop().remove_reader(self._link.fileno())
            logger.warning("the supervisor is gone")
            self._told_totals(self._application.versions.metrics.snapshot())
            self.should_exit = True
            return
        for message in messages:
            if "direct" in message:
                self._direct(message["direct"])
            elif "totals" in message:
                self._told_totals(message["totals"])
            elif "traffic" in message:
                self._application.traffic = message["traffic"]
            elif "leave" in message:
                self._application.leaving = message["leave"]
            elif "drain" in message:
                self._leaves, self.quiet_seconds = True, message["drain"]
                self.should_exit = True

    def _told_totals(self, totals: Snapshot) -> None:
        for asked in self._asking:
            if not asked.done():  # its client is gone
                asked.set_result(totals)
        self._asking.clear()

    def _direct(self, told: Mapping[str, Any]) -> None:
        self._application.direct(Routes(told["weights"], told["shadow"]), told["deciding"])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, and say what was done last."""
        await super().shutdown(sockets)
        self._link.send({"report": self._reported()})

    def _stop_models(self) -> None:
        """Where others have taken over, in the time that they leave."""
        if self._leaves:
            _Yielding()
        super()._stop_models()

    def _report(self) -> None:
        self._link.send({"report": self._reported()})
        asyncio.get_running_loop().call_later(REPORT_SECONDS, self._report)

    def _reported(self) -> dict[str, Any]:
        application, versions = self._application, self._application.versions
        report: dict[str, Any] = {
            "in_flight": application.in_flight,
            "predicted": application.predicted,
            "connections": len(self.server_state.connections),
            "metrics": versions.metrics.snapshot(),
        }
        if versions.tallies is not None:
            report["tallies"] = {version: tally.as_json() for version, tally in versions.tallies.items()}
            report["skew"] = {each.version: each.skew.lasting for each in versions if each.skew}
        if versions.shadow is not None:
            report["shadow"] = versions.shadow.comparison.as_json()
        return report


def main() -> int:
    """Serve until told to stop. The exit code: 0 drained, 2 a model is refused, 1 a failure of ours."""
    parser = argparse.ArgumentParser(prog="python -m penstock_serving.worker", description=__doc__)
    parser.add_argument("listener", type=int, help="file descriptor of the listening socket")
    parser.add_argument("--grpc-listener", type=int, help="that of one for gRPC")
    parser.add_argument("link", type=int, help="file descriptor of the link to the supervisor")
    add_verify_key(parser)
    add_deadline(parser)
    add_access(parser)
    add_monitoring(parser)
    arguments = parser.parse_args()
    set_up_logs()
    told = Link(socket.socket(fileno=arguments.link))
    first = _first(told)
    yielding = _Yielding() if first["quietly"] else None
    metrics = Metrics()
    served: list[ServedModel] = []
    number = ""
    try:
        access = access_of(arguments)
        for number, version in first["versions"].items():
            path, digest = Path(version["path"]), version["digest"]
            monitoring = monitoring_of(arguments, os.environ)
            served.append(
                load_version(
                    first["name"],
                    path,
                    digest,
                    monitoring,
                    number,
                    metrics,
                    verify_key=arguments.verify_key,
                    deadline_seconds=arguments.deadline_seconds,
                )
            )
    except InputError as exc:
        told.send({"failed": str(exc), "version": number})
        return end(exc, available=True)
    versions = Versions(served, Routes(first["weights"], first["shadow"]))
    given = (arguments.listener, arguments.grpc_listener)
    listeners = [socket.socket(fileno=number) for number in given if number is not None]
    worker = Worker(versions, access, listeners, told, yielding)
    worker.run(sockets=[])
    if worker.failure is not None:
        version = next((each.version for each in versions if not each.available), "")
        told.send({"failed": str(worker.failure) or repr(worker.failure), "version": version})
    return end(worker.failure, available=versions.available)


def _first(link: Link) -> dict[str, Any]:
    """What to serve: the first message."""
    while True:
        select.select([link], [], [])
        for message in link.receive():
            return message["serve"]


class _Yielding:
    """Works in the time that others leave, who answer clients; but on a busy machine not for ever."""

    def __init__(self) -> None:
        """Step back, and step by step forward again."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="yield", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Be like the others from now on."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        for nice in YIELDING_STEPS:
            yield_session(nice, patience=RATE_SECONDS)
            if self._over.wait(YIELDING_SECONDS):
                break
        yield_session(0, patience=5 * RATE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
