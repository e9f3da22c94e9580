"""A server on this machine: a dynamic resource whose process outlives the command that started it."""

from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import ConfigureRequest, CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from penstock.local import engine, server
from penstock.local import urn as resource_urn
from penstock.local.identity import ProcessIdentity

WATCHED = ("command", "host", "port", "fingerprint")
"""Inputs whose change starts a new server."""
DRAIN_SECONDS = 15.0


class LocalServiceProvider(ResourceProvider):
    """Keeps one server running; pickled by reference, so it keeps no attributes of its own."""

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:  # noqa: ARG002 (Pulumi's signature)
        """Called once in the process that hosts the provider."""
        engine.adopt_provider_host()

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Changed when an input is, or when the server does not answer; `refresh` would never ask."""
        changed = any(_olds.get(key) != _news.get(key) for key in WATCHED)
        return DiffResult(changes=changed or not _answers(_olds))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Starts the server and waits until it is ready."""
        # Left by a run that was killed before it could write its state.
        leftover = server.recorded(Path(props["record"]))
        if leftover is not None:
            leftover.end(DRAIN_SECONDS)
        return CreateResult(props["name"], _start(props, replaced=None))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Starts a new server beside the old one, then lets the old one finish what it is answering."""
        old = _identity(_olds)
        outs = _start(_news, replaced=old if old.alive() else None)
        old.end(DRAIN_SECONDS)
        return UpdateResult(outs)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Ends the server; its port is free afterwards."""
        _identity(_props).end(DRAIN_SECONDS)
        Path(_props["record"]).unlink(missing_ok=True)


class LocalService(Resource, module="penstock", name="LocalService"):
    """One server process."""

    url: pulumi.Output[str]
    """Base URL at which it answers."""

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        urn = resource_urn.of(name, "pulumi-python:dynamic/penstock:LocalService", opts)
        outputs = dict.fromkeys(("url", "pid", "started"))
        super().__init__(LocalServiceProvider(), name, {"name": name, "urn": urn, **props, **outputs}, opts)


def _start(props: dict[str, Any], replaced: ProcessIdentity | None) -> dict[str, Any]:
    relay = engine.Relay(props["urn"])
    relay.progress(f"loading the model, log in {props['log']}")
    address = server.Address(props["host"], int(props["port"]), props["probe"])
    identity = server.start(
        [*props["program"], *props["command"]],
        address,
        log=Path(props["log"]),
        record=Path(props["record"]),
        cwd=Path(props["cwd"]),
        replaced=replaced,
    )
    relay.progress(f"ready at {address.url}")
    return {**props, "pid": identity.pid, "started": identity.started, "url": address.url}


def _identity(outs: dict[str, Any]) -> ProcessIdentity:
    return ProcessIdentity(int(outs["pid"]), float(outs["started"]))


def _answers(outs: dict[str, Any]) -> bool:
    address = server.Address(outs["host"], int(outs["port"]), outs["probe"])
    return _identity(outs).alive() and address.ready(timeout_seconds=3)
