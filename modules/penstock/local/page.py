"""A page beside a job, such as TensorBoard's: a dynamic resource whose one process outlives the command."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from penstock.errors import ServiceFailed
from penstock.local import engine, server
from penstock.local import urn as resource_urn
from penstock.local.identity import ProcessIdentity

WATCHED = ("command", "host", "port", "probe", "fingerprint")
"""Inputs whose change starts it anew."""
GRACE_SECONDS = 5.0
SETTING = "tensorboard_port"
"""The setting that says the port of the one page there is."""


class LocalPageProvider(engine.Provider):
    """Keeps one process running; pickled by reference, so it keeps no attributes of its own."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Changed when an input is, or when it does not answer; `refresh` would never ask."""
        changed = any(_olds.get(key) != _news.get(key) for key in WATCHED)
        return DiffResult(changes=changed or not _answers(_olds))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Starts it and waits until it answers."""
        # Left by a run that was killed before it could write its state.
        _end(props)
        return CreateResult(props["name"], _start(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Ends the one that runs, then starts another: nobody's request is lost that could not be made again."""
        _end(_olds)
        return UpdateResult(_start(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Ends it; its port is free afterwards."""
        _end(_props)
        Path(_props["record"]).unlink(missing_ok=True)


class LocalPage(Resource, module="penstock", name="LocalPage"):
    """One process that shows something by HTTP."""

    url: pulumi.Output[str]
    """Base URL at which it answers."""

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        urn = resource_urn.of(name, "pulumi-python:dynamic/penstock:LocalPage", opts)
        outputs = dict.fromkeys(("url", "pid", "started"))
        super().__init__(LocalPageProvider(), name, {"name": name, "urn": urn, **props, **outputs}, opts)


def _start(props: dict[str, Any]) -> dict[str, Any]:
    endpoint = _endpoint(props)

    def wait(_process: ProcessIdentity, ended: Callable[[], str | None]) -> None:
        deadline = time.monotonic() + server.READY_SECONDS
        while not endpoint.address.ready(timeout_seconds=5):
            if engine.is_cancelled():
                raise ServiceFailed("interrupted while a page was starting; `make up` starts it again")
            if (words := ended()) is not None:
                raise ServiceFailed(words)
            if time.monotonic() > deadline:
                raise ServiceFailed(f"{props['name']} did not answer within {server.READY_SECONDS:.0f} seconds")
            time.sleep(0.1)

    identity = server.launch(endpoint, props["command"], wait, setting=SETTING)
    engine.Relay(props["urn"]).progress(f"ready at {endpoint.address.url}")
    return {**props, "pid": identity.pid, "started": identity.started, "url": endpoint.address.url}


def _endpoint(props: dict[str, Any]) -> server.Endpoint:
    return server.Endpoint(
        server.Address(props["host"], int(props["port"]), props["probe"]),
        folder=Path(props["record"]).parent,
        log=Path(props["log"]),
        record=Path(props["record"]),
        cwd=Path(props["cwd"]),
        environment={},
    )


def _end(props: dict[str, Any]) -> None:
    """Ends the one that runs, whether the state tells of it or not."""
    running = server.recorded(Path(props["record"]))
    if running is not None:
        running.end(GRACE_SECONDS)


def _identity(outs: dict[str, Any]) -> ProcessIdentity:
    return ProcessIdentity(int(outs["pid"]), float(outs["started"]))


def _answers(outs: dict[str, Any]) -> bool:
    return _identity(outs).alive() and _endpoint(outs).address.ready(timeout_seconds=3)
