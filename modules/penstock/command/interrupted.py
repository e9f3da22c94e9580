"""Puts a stack right after a run that was killed: its lock, and the operations it had begun."""

import getpass
import json
import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from penstock.errors import PenstockError


class StackLocked(PenstockError):
    """A run that has not provably ended holds the stack."""


def release_lock(backend: Path, stack: str) -> list[str]:
    """Removes the locks of runs whose processes are provably gone; whose they were.

    `backend` is the folder of the state. Raises StackLocked for a lock of any other run, and touches none then.
    """
    owners = {lock: json.loads(lock.read_text()) for lock in _locks(backend, stack)}
    for owner in owners.values():
        if not _gone(owner):
            raise StackLocked(
                f"stack {stack} is in use by {_who(owner)} since {owner['timestamp']}; wait for it to end. If you know "
                f"that it has ended: `pulumi cancel -s {stack}`"
            )
    for lock in owners:
        lock.unlink()
    return [_who(owner) for owner in owners.values()]


def holders(backend: Path, stack: str) -> list[tuple[str, bool]]:
    """Who holds the stack, each with whether its process is provably gone."""
    owners = [json.loads(lock.read_text()) for lock in _locks(backend, stack)]
    return [(_who(owner), _gone(owner)) for owner in owners]


def _who(owner: dict[str, Any]) -> str:
    return f"pid {owner['pid']} of {owner['username']} on {owner['hostname']}"


def forget_pending(deployment: dict[str, Any]) -> list[str]:
    """Takes begun and never finished operations out of an exported stack; the resources they were about.

    Ours need no inquiry: a stage's processes ended with the run, and a server that was being started is found by its
    record and ended before the next one is started.
    """
    pending: list[dict[str, Any]] = deployment.pop("pending_operations", None) or []
    return [operation["resource"]["urn"].rpartition("::")[2] for operation in pending]


def _locks(backend: Path, stack: str) -> list[Path]:
    return sorted((backend / ".pulumi" / "locks").glob(f"**/{stack}/*.json"))


def _gone(owner: dict[str, Any]) -> bool:
    if owner["hostname"] != socket.gethostname() or owner["username"] != getpass.getuser():
        return False
    try:
        process = psutil.Process(int(owner["pid"]))
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        started = process.create_time()
    except psutil.NoSuchProcess:
        return True
    # Another process has the pid by now: it started after the lock was taken.
    taken = datetime.fromisoformat(_microseconds(str(owner["timestamp"])))
    return datetime.fromtimestamp(started, tz=taken.tzinfo) > taken + timedelta(seconds=5)


def _microseconds(timestamp: str) -> str:
    """Go writes nanoseconds and `Z`; Python 3.10 reads microseconds and an offset."""
    head, _, rest = timestamp.partition(".")
    if not rest:
        return head.replace("Z", "+00:00")
    digits = "".join(character for character in rest if character.isdigit())
    zone = rest.lstrip("0123456789").replace("Z", "+00:00")
    return f"{head}.{digits[:6].ljust(6, '0')}{zone}" if zone else f"{head}.{digits[:6].ljust(6, '0')}"
