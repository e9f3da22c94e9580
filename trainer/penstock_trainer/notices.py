"""Taking leave: a process that is told to end (SIGTERM, as before a Spot machine is taken away) has a few seconds.

The member that leads the training writes a checkpoint in them and ends. Any other tells the leader by a file, goes on
working until the checkpoint is there, and ends. Nobody stays longer than `PENSTOCK_GRACE_SECONDS` (5).
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
        # Beside parameter servers the loss of a worker costs nothing; in lockstep it ends all.
        costly = "ps" if self.member.cluster.get("ps") else "worker"
        others = [path.name for path in self.folder.iterdir() if path.name.startswith(costly)]
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
            with suppress(OSError):
                (self.folder / self.member.name).touch()
        while time.monotonic() < deadline and self.folder.exists() and (self.member.leads or not self._answered()):
            time.sleep(0.05)
        if not self.member.leads or self._deferred:
            sys.stdout.flush()
            os._exit(ENDED)

    def _answered(self) -> bool:
        return (self.folder / ANSWER).exists()
