"""An endpoint on this machine: a dynamic resource whose processes outlive the command that started them."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from penstock.errors import ServiceFailed
from penstock.local import engine, plan, server
from penstock.local import urn as resource_urn
from penstock.local.identity import ProcessIdentity

RESTARTS = ("program", "environment", "access", "tls", "host", "port", "fingerprint")
"""Inputs whose change starts a new supervisor."""
PLANNED = ("path", "digest", "model_name", "traffic", "rollout", "min_replicas", "max_replicas", "idle_seconds")
"""Inputs whose change the running one follows."""
DRAIN_SECONDS = 15.0


class LocalServiceProvider(engine.Provider):
    """Keeps one endpoint running; pickled by reference, so it keeps no attributes of its own."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Changed when an input is, or when the server does not answer; `refresh` would never ask.

        How far a rollout has got is the server's own: it is no input, and no `up` undoes it.
        """
        changed = any(_olds.get(key) != _news.get(key) for key in (*RESTARTS, *PLANNED))
        return DiffResult(changes=changed or not _endpoint(_olds).answers(_identity(_olds)))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Starts the server and waits until it is ready."""
        # Left by a run that was killed before it could write its state.
        leftover = server.recorded(Path(props["record"]))
        if leftover is not None:
            leftover.end(DRAIN_SECONDS)
        return CreateResult(props["name"], _start(props, replaced=None))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Has the server follow a changed plan; for anything else starts a new one, then lets the old one finish."""
        old, endpoint = _running(_olds), _endpoint(_olds)
        if not endpoint.answers(old):
            old.end(DRAIN_SECONDS)
            return UpdateResult(_start(_news, replaced=None))
        if old == _identity(_olds) and all(_olds.get(key) == _news.get(key) for key in RESTARTS):
            return UpdateResult(_direct(_news, old))
        outs = _start(_news, replaced=old if _olds["port"] == _news["port"] else None)
        old.end(DRAIN_SECONDS)
        return UpdateResult(outs)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Ends the server; its port is free afterwards."""
        _running(_props).end(DRAIN_SECONDS)
        Path(_props["record"]).unlink(missing_ok=True)
        shutil.rmtree(_props["folder"], ignore_errors=True)


class LocalService(Resource, module="penstock", name="LocalService"):
    """One endpoint: its supervisor, which starts the workers."""

    url: pulumi.Output[str]
    """Base URL at which it answers."""

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        urn = resource_urn.of(name, "pulumi-python:dynamic/penstock:LocalService", opts)
        outputs = dict.fromkeys(("url", "pid", "started"))
        super().__init__(LocalServiceProvider(), name, {"name": name, "urn": urn, **props, **outputs}, opts)


def _start(props: dict[str, Any], replaced: ProcessIdentity | None) -> dict[str, Any]:
    relay, endpoint = engine.Relay(props["urn"]), _endpoint(props)
    relay.progress(f"loading the model, log in {props['log']}")
    with plan.written(endpoint.folder, props) as revision:
        identity = server.start(endpoint, props["program"], revision, replaced)
    relay.progress(f"ready at {endpoint.address.url}")
    return {**props, "pid": identity.pid, "started": identity.started, "url": endpoint.address.url}


def _direct(props: dict[str, Any], running: ProcessIdentity) -> dict[str, Any]:
    relay, endpoint = engine.Relay(props["urn"]), _endpoint(props)
    relay.progress(f"directing the traffic, log in {props['log']}")
    try:
        with plan.written(endpoint.folder, props) as revision:
            server.direct(endpoint, running, revision)
    except ServiceFailed:
        if engine.is_cancelled() and running.alive():
            os.kill(running.pid, signal.SIGHUP)
        raise
    return {**props, "pid": running.pid, "started": running.started, "url": endpoint.address.url}


def _endpoint(props: dict[str, Any]) -> server.Endpoint:
    return server.Endpoint(
        server.Address(props["host"], int(props["port"]), props["probe"], bool(props.get("tls"))),
        folder=Path(props["folder"]),
        log=Path(props["log"]),
        record=Path(props["record"]),
        cwd=Path(props["cwd"]),
        environment=props.get("environment") or {},
    )


def _running(outs: dict[str, Any]) -> ProcessIdentity:
    """The server that is there: a run that was killed may have started another than the state tells of."""
    return server.recorded(Path(outs["record"])) or _identity(outs)


def _identity(outs: dict[str, Any]) -> ProcessIdentity:
    return ProcessIdentity(int(outs["pid"]), float(outs["started"]))
