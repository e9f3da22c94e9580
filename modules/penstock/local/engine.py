"""The Pulumi engine seen from a process that it started: who it is, that it is still there, how to talk to it."""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import grpc
import psutil
from pulumi.dynamic import ConfigureRequest, ResourceProvider
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from penstock.errors import PenstockError
from penstock.local.identity import ProcessIdentity

_death_watch_started = threading.Lock()
_on_death: list[Callable[[], None]] = []
_answering_death = threading.Lock()
_cancelled = threading.Event()
_cancelling = threading.Lock()
_on_cancel: list[Callable[[], None]] = []


def find() -> tuple[ProcessIdentity | None, list[ProcessIdentity]]:
    """The engine above this process, and the processes in between (language host, wrapper script)."""
    between: list[ProcessIdentity] = []
    for parent in psutil.Process().parents():
        identity = ProcessIdentity.of(parent.pid)
        if identity is None:
            break
        if parent.name() == "pulumi":
            return identity, between
        between.append(identity)
    return None, []


def on_death(action: Callable[[], None]) -> Callable[[], None]:
    """Has `action` run should the engine die; the answer takes it back."""
    _on_death.append(action)
    return lambda: _on_death.remove(action)


@contextmanager
def death_answered_after() -> Generator[None]:
    """Where the engine dies within the block, that is answered at its end: with what the block has given `on_death`."""
    with _answering_death:
        yield


@contextmanager
def interruptible(action: Callable[[], None]) -> Generator[None]:
    """Has `action` run, from another thread, should the run be cancelled within the block."""
    with _cancelling:
        _on_cancel.append(action)
        if _cancelled.is_set():
            action()
    try:
        yield
    finally:
        with _cancelling:
            _on_cancel.remove(action)


def cancel() -> None:
    """The run is cancelled, by Ctrl-C or otherwise: what is running is to end soon, and nothing more to begin."""
    with _cancelling:
        _cancelled.set()
        for action in _on_cancel:
            action()


def is_cancelled() -> bool:
    """Whether the run has been cancelled."""
    return _cancelled.is_set()


def end_with_engine() -> None:
    """Ends this process, and those between it and the engine, when the engine is gone.

    The engine ends its plugins itself unless it is killed. Then they would stay for ever: the language host, the
    program, and the provider together with whatever it is running.
    """
    if not _death_watch_started.acquire(blocking=False):
        return
    engine, between = find()
    if engine is not None:
        threading.Thread(target=_watch, args=(engine, between), daemon=True).start()


def _watch(engine: ProcessIdentity, between: list[ProcessIdentity]) -> None:
    while engine.alive():
        time.sleep(0.5)
    with _answering_death:
        for action in list(_on_death):
            action()
        for process in between:
            if process.alive():
                os.kill(process.pid, signal.SIGKILL)
        os._exit(1)


class Relay:
    """Passes a stage's progress to whoever watches the engine, beside the resource it belongs to."""

    def __init__(self, urn: str) -> None:
        self._urn = urn
        # The engine gives its plugins its own address as their first argument.
        address = sys.argv[1] if len(sys.argv) > 1 else ""
        self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address)) if address else None

    def progress(self, line: str) -> None:
        """One line of progress: shown while the stage runs, not repeated in the summary."""
        self._log(line, ephemeral=True)

    def info(self, line: str) -> None:
        """A line that is also part of the summary."""
        self._log(line, ephemeral=False)

    def _log(self, line: str, ephemeral: bool) -> None:
        if self._engine is None:
            return
        request: Any = engine_pb2.LogRequest(
            severity=engine_pb2.INFO, message=line, urn=self._urn, ephemeral=ephemeral, streamId=0
        )
        try:
            self._engine.Log(request, timeout=5)  # pyright: ignore[reportUnknownMemberType] (generated, half typed)
        except grpc.RpcError:
            # Progress is worth no failure; an engine that is gone is noticed by the watch.
            self._engine = None


class _PlainErrors:
    """Stands in for the module `traceback` in Pulumi's provider host.

    The host answers any exception with `traceback.format_exc()` and the engine prints that; our errors are messages
    for a person and must reach them as they are. Anything else keeps its traceback.
    """

    @staticmethod
    def format_exc() -> str:
        error = sys.exc_info()[1]
        return str(error) if isinstance(error, PenstockError) else traceback.format_exc()


class Provider(ResourceProvider):
    """A dynamic provider that works in the host that is prepared for it."""

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:  # noqa: ARG002 (Pulumi's signature)
        """Called once in the process that hosts the provider."""
        adopt_provider_host()


def adopt_provider_host() -> None:
    """Prepares the process that hosts our dynamic providers."""
    host = vars(sys.modules["__main__"])
    if "traceback" in host:
        host["traceback"] = _PlainErrors
    if "DynamicResourceProviderServicer" in host:
        # Pulumi's own answer to a cancelled run is to do nothing, hence to wait for a stage of hours. The server has
        # bound the method already, so the method itself is given another body.
        host["DynamicResourceProviderServicer"].Cancel.__code__ = _cancel.__code__
    end_with_engine()


def _cancel(self: Any, request: Any, context: Any) -> Any:  # noqa: ARG001  # pyright: ignore[reportUnusedFunction]
    from google.protobuf import empty_pb2  # pyright: ignore[reportMissingTypeStubs]

    from penstock.local import engine

    engine.cancel()
    return empty_pb2.Empty()
