"""Puts a stack right after a run that was killed: its lock, and the operations it had begun."""

import getpass
import json
import socket
from datetime import datetime, timedelta
from pathlib import Path

import psutil
from common import ToolError, say
from engine_environment import own_backend


def release_lock(stack: str) -> None:
    """Removes the lock of a run whose process is provably gone; refuses to go on beside one that is not."""
    backend = own_backend()
    for lock in _locks(backend, stack) if backend else []:
        owner = json.loads(lock.read_text())
        who = f"pid {owner['pid']} of {owner['username']} on {owner['hostname']}"
        if not _gone(owner):
            raise ToolError(
                f"stack {stack} is in use by {who} since {owner['timestamp']}; wait for it to end. If you know that it "
                f"has ended: `pulumi cancel -s {stack}`"
            )
        lock.unlink()
        say(f"the last run ({who}) is gone: its lock on stack {stack} is released")


def forget_pending(deployment: dict[str, object]) -> list[str]:
    """Takes begun and never finished operations out of an exported stack; the resources they were about.

    Ours need no inquiry: a stage's processes ended with the run, and a server that was being started is found by its
    record and ended before the next one is started.
    """
    pending = deployment.pop("pending_operations", None) or []
    assert isinstance(pending, list)
    return [operation["resource"]["urn"].rpartition("::")[2] for operation in pending]


def _locks(backend: Path, stack: str) -> list[Path]:
    return sorted((backend / ".pulumi" / "locks").glob(f"**/{stack}/*.json"))


def _gone(owner: dict[str, str | int]) -> bool:
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
