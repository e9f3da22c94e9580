"""The worker processes of one endpoint, as the supervisor sees them. Standard library only."""

import math
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from penstock_serving.link import Link
from penstock_serving.plan import Plan, Version
from penstock_serving.routing import Routes
from penstock_serving.yielding import LOADING, yield_session

END_SECONDS = 12.0
"""After so long a worker that was told to end is killed."""
LEAVE_SECONDS = 5.0
"""How long a worker that others take over from answers on its open connections before it closes the idle ones."""


class WorkerProcess:
    """One worker: loading, then ready, then draining; `generation` says which plan it was started for."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        arguments: Sequence[str],
        plan: Plan,
        routes: Routes,
        generation: int,
        *,
        quietly: bool,
    ) -> None:
        """`listeners`: for REST, then for gRPC if that is answered too.

        Raises:
            OSError: the machine has no room for another process.
        """
        self.generation = generation
        self.versions = {number: plan.versions[number] for number in routes.versions}
        self.state = "loading"
        self.silent = False
        """Whether it will say no more."""
        self.failure: dict[str, str] | None = None
        """Why it did not become ready, and which version was at fault."""
        self._until = math.inf
        self.report: dict[str, Any] = {"in_flight": 0, "predicted": 0, "connections": 0}
        ours, its = socket.socketpair()
        self.link = Link(ours)
        with its:
            rest, *grpc = (listener.fileno() for listener in listeners)
            told = [rest, its.fileno(), *(word for number in grpc for word in ("--grpc-listener", number))]
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "penstock_serving.worker", *map(str, told), *arguments],
                    pass_fds=(rest, its.fileno(), *grpc),
                    stdin=subprocess.DEVNULL,
                    # Its own session: for its autogroup, and so that a signal to the supervisor's group is not its.
                    start_new_session=True,
                )
            except OSError:
                self.link.close()
                raise
        if quietly:
            # It imports before it can do so itself.
            yield_session(LOADING, self.process.pid)
        versions = {number: {"path": v.path, "digest": v.digest} for number, v in self.versions.items()}
        order = {"name": plan.name, "versions": versions, "quietly": quietly}
        self.link.send({"serve": order | {"weights": dict(routes.weights), "shadow": routes.shadow}})

    def holds(self, versions: Mapping[str, Version]) -> bool:
        """Whether it has all of these loaded."""
        return all(self.versions.get(number) == version for number, version in versions.items())

    def direct(self, routes: Routes, deciding: bool) -> None:
        """Have it send requests this way; versions that no route needs are unloaded."""
        self.versions = {number: version for number, version in self.versions.items() if number in routes.versions}
        self.link.send({"direct": {"weights": dict(routes.weights), "shadow": routes.shadow, "deciding": deciding}})

    def drain(self) -> None:
        """Have it answer what it has, then end; others accept what comes."""
        self._leave(LEAVE_SECONDS + 2 * END_SECONDS)  # those of its clients, of gRPC's and of REST's
        self.link.send({"drain": LEAVE_SECONDS})

    def end(self) -> None:
        """Have it end soon."""
        self._leave(END_SECONDS)
        self.process.send_signal(signal.SIGTERM)

    def gone(self) -> bool:
        """Whether its process has ended; one that was told to and does not is killed, as where its model hangs."""
        if self.process.poll() is None and time.monotonic() > self._until:
            self.process.kill()
            self.process.wait()
        return self.process.poll() is not None

    def _leave(self, seconds: float) -> None:
        self.state = "draining"
        self._until = time.monotonic() + seconds
