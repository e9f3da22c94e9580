"""One replica of a role: its process, its log, and how often it may still be started again."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from penstock.local.identity import ProcessIdentity
from penstock.local.spec import ReplicaSpec

INPUT_AT_FAULT = 2
"""Exit code with which a stage says that its input is wrong: starting it again would change nothing."""


class Replica:
    """A process in a group of its own, started again after a failure as often as its role allows."""

    def __init__(self, spec: ReplicaSpec, cwd: str, relay: Callable[[str], None] | None) -> None:
        self.spec = spec
        self.name = f"{spec['role']}-{spec['index']}"
        self.restarts_left = spec["restarts"]
        self.exit_code: int | None = None
        self._cwd = cwd
        self._relay = relay
        self._process: subprocess.Popen[bytes] | None = None
        self._pumps: list[threading.Thread] = []

    def start(self, environment: Mapping[str, str]) -> ProcessIdentity | None:
        """Starts the process; its identity is None when it is gone already."""
        self.exit_code = None
        Path(self.spec["log"]).parent.mkdir(parents=True, exist_ok=True)
        with Path(self.spec["log"]).open("ab") as log:
            self._process = subprocess.Popen(
                self.spec["command"],
                cwd=self._cwd,
                env={**environment, **self.spec["environment"]},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._relay else log,
                stderr=subprocess.PIPE if self._relay else log,
                # A session of its own: signals reach the replica with all it started, and nobody else.
                start_new_session=True,
            )
        streams = ((self._process.stdout, self._relay), (self._process.stderr, None))
        copied = [stream for stream in streams if stream[0] is not None]
        self._pumps = [threading.Thread(target=self._copy, args=stream, daemon=True) for stream in copied]
        for pump in self._pumps:
            pump.start()
        return ProcessIdentity.of(self._process.pid)

    def poll(self) -> int | None:
        """The exit code once the process has ended; what it left of its group is ended with it."""
        if self._process is None or self.exit_code is not None:
            return self.exit_code
        code = self._process.poll()
        if code is not None:
            self._signal(signal.SIGKILL)
            for pump in self._pumps:
                pump.join(timeout=2)
            self.exit_code = code
        return self.exit_code

    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self.poll() is None

    def may_restart(self) -> bool:
        """Whether a failure may be answered by another start."""
        return self.restarts_left > 0 and self.exit_code not in (0, INPUT_AT_FAULT)

    def terminate(self) -> None:
        """Asks the process and its group to end."""
        if self.running():
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the process and its group without asking."""
        if self.running() and self._process:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self.poll()

    def last_words(self) -> str:
        """The last `error: ` line of the log, else its last few lines."""
        try:
            lines = Path(self.spec["log"]).read_text(errors="replace").splitlines()[-400:]
        except OSError:
            return ""
        for line in reversed(lines):
            if line.startswith("error: "):
                return line.removeprefix("error: ")
        return "\n".join(line for line in lines[-6:] if line.strip())

    def _signal(self, number: signal.Signals) -> None:
        # macOS answers PermissionError for a group that holds only zombies.
        if self._process:
            try:
                os.killpg(self._process.pid, number)
            except (ProcessLookupError, PermissionError):
                return

    def _copy(self, stream: IO[bytes], relay: Callable[[str], None] | None) -> None:
        # A line at a time, as a whole: two streams go to one log.
        with stream, Path(self.spec["log"]).open("ab", buffering=0) as log:
            for line in stream:
                log.write(line if line.endswith(b"\n") else line + b"\n")
                if relay:
                    relay(line.decode(errors="replace").rstrip())
