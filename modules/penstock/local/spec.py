"""What provider and supervisor of a local job tell each other, as files under the job's folder."""

import json
import os
from pathlib import Path
from typing import Any, Literal, TypedDict

Identity = tuple[int, float]
"""Pid and start mark of a process."""


class ReplicaSpec(TypedDict):
    """One process to keep running."""

    role: str
    index: int
    command: list[str]
    environment: dict[str, str]
    log: str
    restarts: int
    """How often this replica alone is started again."""


class JobSpec(TypedDict):
    """Everything the supervisor needs to know."""

    name: str
    success_role: str
    restarts: int
    """How often all replicas are started again after the failure of one that is not."""
    replicas: list[ReplicaSpec]
    cwd: str
    result: str
    """Where the success role's first replica writes its result."""
    outcome: str
    """Where the supervisor writes how the job ended."""
    processes: str
    """Where the supervisor keeps the identities of what it started."""
    watch: list[Identity]
    """Processes without which the job must not go on."""


class Outcome(TypedDict):
    """How a job ended."""

    status: Literal["succeeded", "failed", "interrupted"]
    message: str
    """For a failure: what the replica that failed said last."""
    log: str
    """For a failure: that replica's log."""


def write_json(path: str | Path, value: Any) -> None:
    """Writes a JSON file that is either whole or not there."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1))
    temporary.replace(target)


def read_json(path: str | Path) -> Any:
    """The content of a JSON file, or None when it is not there."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        return None
