"""The processes a test cluster is made of, recorded so that none is ever left behind."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common import ToolError

from penstock.local.identity import ProcessIdentity

HOST = "127.0.0.1"
PATIENCE_SECONDS = 120.0
PR_SET_PDEATHSIG = 1


class Processes:
    """Started one by one with a log each; `bound` ones die with the process that started them, whatever kills it."""

    def __init__(self, folder: Path, bound: bool) -> None:
        self._folder = folder
        self._bound = bound
        self._record = folder / "processes.json"
        self._children: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        name: str,
        program: Path,
        *flags: Mapping[str, Any],
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Starts a program with arguments, and behind them `--flag=value` for each flag."""
        given = [f"--{flag}={value}" for group in flags for flag, value in group.items()]
        command = [str(program), *arguments, *given]
        with self._log(name).open("wb") as log:
            child = subprocess.Popen(
                command,
                cwd=self._folder,
                env={**os.environ, "HOME": str(self._folder), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent if self._bound else None,
            )
        self._children.append(child)
        identity = ProcessIdentity.of(child.pid)
        if identity is not None:
            self._record.write_text(json.dumps({**self._recorded(), name: [identity.pid, identity.started]}))

    def wait(self, name: str, ready: Callable[[], bool], patience: float = PATIENCE_SECONDS) -> None:
        """Returns once `ready` says so; a process that ends before is told with its last lines."""
        deadline = time.monotonic() + patience
        while not ready():
            alive = self._identity(name).alive()
            if not alive or time.monotonic() > deadline:
                lines = self._log(name).read_text(errors="replace").splitlines()[-8:]
                how = f"was not ready after {patience:.0f} s" if alive else "ended"
                raise ToolError(f"{name} {how}:\n" + "\n".join(f"    {line}" for line in lines))
            time.sleep(0.1)

    def pids(self) -> dict[str, int]:
        """The processes by name."""
        return {name: int(pid) for name, (pid, _) in self._recorded().items()}

    def kill(self, name: str) -> None:
        """Kills one of them, and returns when its port is free again."""
        pid = self.pids()[name]
        os.kill(pid, signal.SIGKILL)
        for child in self._children:
            if child.pid == pid:
                child.wait()

    def end(self) -> None:
        """Ends them, the first one last: it is the store that all others write to."""
        for pid, started in reversed(self._recorded().values()):
            ProcessIdentity(int(pid), started).end(grace_seconds=5)
        for child in self._children:
            child.wait()
        self._record.unlink(missing_ok=True)

    def _recorded(self) -> dict[str, list[float]]:
        return json.loads(self._record.read_text()) if self._record.exists() else {}

    def _identity(self, name: str) -> ProcessIdentity:
        pid, started = self._recorded()[name]
        return ProcessIdentity(int(pid), started)

    def _log(self, name: str) -> Path:
        folder = self._folder / "logs"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.log"


def free_ports(count: int) -> list[int]:
    """Ports below the ephemeral range that nobody listens on; each is held until all are found."""
    held: list[socket.socket] = []
    try:
        for port in range(20_000 + os.getpid() * 13 % 10_000, 32_700):
            probe = socket.socket()
            held.append(probe)
            try:
                probe.bind((HOST, port))
            except OSError:
                held.pop().close()
            if len(held) == count:
                return [each.getsockname()[1] for each in held]
        raise ToolError(f"there are no {count} free ports on {HOST}")
    finally:
        for each in held:
            each.close()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
