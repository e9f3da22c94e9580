"""A stage on this machine: a dynamic resource whose provider runs the stage under a supervisor."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from penstock.errors import StageFailed, StageInterrupted
from penstock.local import engine, fingerprint, scheduling
from penstock.local import urn as resource_urn
from penstock.local.environment import without_pulumi
from penstock.local.identity import ProcessIdentity
from penstock.local.spec import Identity, JobSpec, Outcome, ReplicaSpec, read_json, write_json

WATCHED = ("roles", "success_role", "fingerprint", "digests")
"""Inputs whose change runs the stage again; the stage itself finds out whether its artifact is still good."""


class LocalJobProvider(engine.Provider):
    """Runs a job to its end; pickled by reference, so it keeps no attributes of its own."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Changed when an input is, or when the artifact in the state is no longer on disk."""
        changed = any(_olds.get(key) != _news.get(key) for key in WATCHED)
        return DiffResult(changes=changed or fingerprint.manifest_digest(Path(_olds["path"])) != _olds["digest"])

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Runs the stage."""
        return CreateResult(props["name"], _run(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Runs the stage again."""
        return UpdateResult(_run(_news))


class LocalJob(Resource, module="penstock", name="LocalJob"):
    """One stage and the artifact it left."""

    path: pulumi.Output[str]
    """Folder of the sealed artifact."""
    digest: pulumi.Output[str]
    """Digest of the artifact's manifest."""
    counts: pulumi.Output[dict[str, Any]]
    """What the stage counted, by name."""
    metrics: pulumi.Output[dict[str, Any]]
    """What the stage measured, by name."""

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        urn = resource_urn.of(name, "pulumi-python:dynamic/penstock:LocalJob", opts)
        outputs = dict.fromkeys(("path", "digest", "counts", "metrics", "reused"))
        super().__init__(LocalJobProvider(), name, {"name": name, "urn": urn, **props, **outputs}, opts)


def _run(props: dict[str, Any]) -> dict[str, Any]:
    name, folder, logs = props["name"], Path(props["folder"]), Path(props["logs"])
    for place in (folder, logs):
        place.mkdir(parents=True, exist_ok=True)
    _end_leftovers(folder / "processes.json")
    for stale in ("outcome.json", "result.json"):
        (folder / stale).unlink(missing_ok=True)
    for stale_log in logs.glob("*.log"):
        stale_log.unlink()

    relay = engine.Relay(props["urn"])
    relay.progress(f"logs in {logs}")
    outcome = _supervise(_spec(props, folder, logs), folder / "spec.json", logs / "supervisor.log", relay)
    if engine.is_cancelled() or (outcome and outcome["status"] == "interrupted"):
        raise StageInterrupted(f"{name} was interrupted; `make up` continues from the last sealed artifact")
    if outcome is None:
        _end_leftovers(folder / "processes.json")
        raise StageFailed(f"{name}: the supervisor ended before the stage did; see {logs / 'supervisor.log'}")
    if outcome["status"] == "failed":
        raise StageFailed(f"{name} failed: {outcome['message']}\nlog: {outcome['log']}")
    result = read_json(folder / "result.json")
    if result is None:
        raise StageFailed(f"{name} ended well but wrote no result; see {logs}")
    return {**props, **{key: result[key] for key in ("path", "digest", "counts", "metrics", "reused")}}


def _supervise(spec: JobSpec, spec_file: Path, log: Path, relay: engine.Relay) -> Outcome | None:
    write_json(spec_file, spec)
    with log.open("wb") as errors:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "penstock.local.supervisor", str(spec_file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=without_pulumi(os.environ),
            text=True,
            errors="replace",
        )
    scheduling.as_any_other(supervisor.pid)
    identity = ProcessIdentity.of(supervisor.pid)

    def clean_up() -> None:
        # The supervisor notices the same death and ends the replicas itself, unless it was killed together with it.
        if identity is not None:
            identity.end(grace_seconds=10)
        _end_leftovers(Path(spec["processes"]))

    forget = engine.on_death(clean_up)
    try:
        with engine.interruptible(supervisor.terminate):
            assert supervisor.stdout is not None
            for line in supervisor.stdout:
                relay.progress(line.rstrip())
            supervisor.wait()
    finally:
        forget()
    return read_json(spec["outcome"])


def _spec(props: dict[str, Any], folder: Path, logs: Path) -> JobSpec:
    # Numbers of a resource's properties arrive as floats.
    replicas: list[ReplicaSpec] = [
        {
            "role": role,
            "index": index,
            "command": [*props["program"], *details["command"]],
            "environment": dict(details["environment"]),
            "log": str(logs / f"{role}-{index}.log"),
            "restarts": int(details["restarts"]),
        }
        for role, details in sorted(props["roles"].items())
        for index in range(int(details["replicas"]))
    ]
    above, _ = engine.find()
    here = ProcessIdentity.of(os.getpid())
    watch: list[Identity] = [(process.pid, process.started) for process in (above, here) if process is not None]
    return {
        "name": props["name"],
        "success_role": props["success_role"],
        "restarts": int(props["restarts"]),
        "replicas": replicas,
        "cwd": props["cwd"],
        "result": str(folder / "result.json"),
        "outcome": str(folder / "outcome.json"),
        "processes": str(folder / "processes.json"),
        "watch": watch,
    }


def _end_leftovers(record: Path) -> None:
    """Ends what a supervisor that was killed has left running."""
    identities: dict[str, Identity] = read_json(record) or {}
    for pid, started in identities.values():
        ProcessIdentity(pid, started).end(grace_seconds=5)
    record.unlink(missing_ok=True)
