"""Taking leave: a process that is told to end (SIGTERM, as before a Spot machine is taken away) has a few seconds.

The member that leads the training writes a checkpoint in them and ends. Any other whose loss ends the training tells
the leader by a file, goes on working until the checkpoint is there or the leader is gone, and ends. Nobody stays longer
than `PENSTOCK_GRACE_SECONDS` (5), which whoever starts a process sets to what it gives it.
"""

import hashlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from penstock_trainer.membership import Member

ENDED = 143  # as a shell says it of a process that SIGTERM has ended
MARGIN_SECONDS = 0.7
LOOK_SECONDS = 0.5
ANSWER = "saved"


class Preempted(Exception):
    """The training has been checkpointed and ends, to be resumed by its next start."""


class Notices:
    """One cluster's notices: files in a folder under the artifacts that all its members reach."""

    def __init__(self, artifacts: Path, member: Member):
        self.member = member
        names = hashlib.sha256(repr(sorted(member.cluster.items())).encode()).hexdigest()[:16]
        self.folder = artifacts / ".notices" / (names if member.cluster else str(os.getpid()))
        self.asked = False
        self._deferred = False

    def listen(self) -> None:
        """From now on SIGTERM is answered as this module says; in the main thread only."""
        signal.signal(signal.SIGTERM, self._on_signal)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Within the block the leader looks at `to_heed` every second or so, and is not ended at once."""
        if not self.member.leads:
            yield
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                self.folder.parent.rmdir()

    def to_heed(self) -> list[str]:
        """Who has been told to end, this process included, so that a checkpoint is due now."""
        if not self.member.leads:
            return []
        others = [path.name for path in self.folder.iterdir() if path.name.startswith(self._costly)]
        return [self.member.name] * self.asked + sorted(others)

    def answer(self) -> None:
        """The checkpoint that was asked for is there."""
        (self.folder / ANSWER).touch()

    def _on_signal(self, *_: object) -> None:
        self.asked = True
        if self.member.leads and not self._deferred:
            sys.exit(ENDED)
        threading.Thread(target=self._leave, daemon=True).start()

    def _leave(self) -> None:
        deadline = time.monotonic() + float(os.environ.get("PENSTOCK_GRACE_SECONDS", "5")) - MARGIN_SECONDS
        if not self.member.leads:
            self._await_checkpoint(deadline)
        while self.member.leads and time.monotonic() < deadline and self.folder.exists():
            time.sleep(0.05)
        if not self.member.leads or self._deferred:
            sys.stdout.flush()
            os._exit(ENDED)

    def _await_checkpoint(self, deadline: float) -> None:
        if self.member.role != self._costly:
            return
        with suppress(OSError):
            (self.folder / self.member.name).touch()
        looked = time.monotonic() - LOOK_SECONDS
        while time.monotonic() < deadline and self.folder.exists() and not (self.folder / ANSWER).exists():
            if time.monotonic() - looked >= LOOK_SECONDS:
                looked = time.monotonic()
                if not self.member.leader_answers():
                    return
            time.sleep(0.05)

    @property
    def _costly(self) -> str:
        """The role whose loss ends the training: beside parameter servers that of a worker costs nothing."""
        return "ps" if self.member.cluster.get("ps") else "worker"
