"""Where the processes of one study meet: a journal file on one machine, PostgreSQL on a cluster.

Both say the same three things: that only one process decides at a time, that a trial's process is alive, and which
trials' processes are not.
"""

import fcntl
import json
import os
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import optuna
import sqlalchemy
import sqlalchemy.exc
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.storages.journal._file import get_lock_file
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from penstock_trainer import google_sign_in
from penstock_trainer.errors import InputError

HOLDER = "holder"  # a trial's attribute: who runs it; a running trial without one was claimed by a process that died
HEARTBEAT_SECONDS = 5
GRACE_SECONDS = 20  # a process that is silent for so long is taken for dead
DURABLE = (JournalOperation.CREATE_STUDY, JournalOperation.SET_TRIAL_STATE_VALUES)
ADVISORY_LOCK = 0x50454E53  # any number that other users of the database do not take


class StudyStorage(Protocol):
    """What `tune` needs of a place that several processes share."""

    trials: BaseStorage

    def exclusive(self) -> AbstractContextManager[None]:
        """Held by one process at a time; let go of however the process ends."""
        ...

    def take(self, trial: optuna.Trial) -> None:
        """Say, while exclusive, that this process runs `trial` from now on."""
        ...

    def let_go(self) -> None:
        """Say that this process runs no trial any more."""
        ...

    def fail_dead(self, study: optuna.Study) -> None:
        """Mark as failed, while exclusive, the running trials whose process is gone."""
        ...


class Journal:
    """A file in a folder of this machine. A trial is alive while its process holds a lock on a file of its own."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        journal = folder / "journal.log"
        self.trials: BaseStorage = JournalStorage(_JournalFile(journal))
        # A name that no later process takes: else a dead trial would look alive for ever.
        self.holder = f"holder-{uuid.uuid4().hex}"
        self._held = os.open(folder / self.holder, os.O_CREAT | os.O_WRONLY)
        fcntl.flock(self._held, fcntl.LOCK_EX)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with (self.folder / "claim.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def take(self, trial: optuna.Trial) -> None:
        trial.set_user_attr(HOLDER, self.holder)

    def let_go(self) -> None:
        """The lock is the process's, not the trial's."""

    def fail_dead(self, study: optuna.Study) -> None:
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not _is_held(self.folder / trial.user_attrs.get(HOLDER, "nobody")):
                study.tell(trial.number, state=TrialState.FAIL)


class PostgreSQL:
    """A database. A trial is alive while its process records a heartbeat every `heartbeat` seconds."""

    def __init__(self, url: str, heartbeat: int = HEARTBEAT_SECONDS, grace: int = GRACE_SECONDS):
        where = _checked(url)
        self.heartbeat = heartbeat
        signed_in = google_sign_in.connecting(where)
        self._engine = sqlalchemy.create_engine(where, poolclass=sqlalchemy.NullPool, **signed_in)
        self._current: int | None = None
        try:
            with self.exclusive(), warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self.rdb = RDBStorage(
                    where.render_as_string(),
                    # A database that was started again is no reason to fail.
                    engine_kwargs={"pool_pre_ping": True, **signed_in},
                    heartbeat_interval=heartbeat,
                    grace_period=grace,
                )
        except sqlalchemy.exc.OperationalError as exc:
            said = " ".join(str(exc.orig).split())
            raise InputError(
                f"storage {url}: {said}; PGUSER, PGPASSWORD, PGPASSFILE and the like are honoured"
            ) from exc
        self.trials: BaseStorage = self.rdb
        threading.Thread(target=self._beat, daemon=True).start()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"select pg_advisory_lock({ADVISORY_LOCK})"))
            yield  # the connection's end lets go of the lock

    def take(self, trial: optuna.Trial) -> None:
        self._current = trial._trial_id
        self.rdb.record_heartbeat(trial._trial_id)
        trial.set_user_attr(HOLDER, f"{socket.gethostname()}:{os.getpid()}")

    def let_go(self) -> None:
        self._current = None

    def fail_dead(self, study: optuna.Study) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if HOLDER not in trial.user_attrs:  # nobody else is claiming now: its process died while it did
                study.tell(trial.number, state=TrialState.FAIL)

    def _beat(self) -> None:
        while True:
            time.sleep(self.heartbeat)
            trial = self._current
            if trial is not None:
                try:
                    self.rdb.record_heartbeat(trial)
                except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError):
                    continue  # out of reach for now: the next beat tries again


def connect(url: str | None, folder: Path) -> StudyStorage:
    """The storage at `url` (postgresql://...), or the journal in `folder` where there is none.

    Raises:
        InputError: the address is no PostgreSQL's, holds a password, or does not answer.
    """
    return Journal(folder) if url is None else PostgreSQL(url)


def _checked(url: str) -> sqlalchemy.URL:
    try:
        where = sqlalchemy.make_url(url)
    except sqlalchemy.exc.ArgumentError as exc:
        raise InputError("storage is no URL; write postgresql://[user@]host[:port]/database") from exc
    if where.password is not None or "password" in where.query:
        raise InputError(
            "storage holds a password, which every process on the machine could read; leave it out and set PGPASSWORD, "
            "or PGPASSFILE to a file as libpq reads it"
        )
    if where.drivername not in ("postgresql", "postgres"):
        raise InputError(
            f"storage {url}: expected postgresql://[user@]host[:port]/database; without it, a local journal"
        )
    return where.set(drivername="postgresql+psycopg")


class _JournalFile(JournalFileBackend):
    """Optuna's own waits for the disk after every line, of which a trial has two dozen. Here that is done when a trial
    ends: what a power cut takes of one under way is lost with it anyhow.
    """

    def __init__(self, journal: Path):
        self.journal, self.lock = journal, _JournalLock(journal)
        super().__init__(str(journal), self.lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if any(log["op_code"] in DURABLE for log in logs):
            super().append_logs(logs)
            return
        lines = "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs)
        with get_lock_file(self.lock), self.journal.open("a", encoding="utf-8") as file:
            file.write(lines)


class _JournalLock(JournalFileOpenLock):
    """Optuna's own locks outlive a killed process by half a minute; the system lets go of this one at once."""

    def __init__(self, journal: Path):
        super().__init__(str(journal))
        self.journal, self.path = journal, journal.with_suffix(".lock")

    def acquire(self) -> bool:
        self.file = self.path.open("w")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        self._drop_torn_line()
        return True

    def release(self) -> None:
        self.file.close()

    def _drop_torn_line(self) -> None:
        """What a process that was killed, or a full disk, left without its line's end would spoil the next line."""
        with self.journal.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            end = size
            while end and (file.seek(end - 1), file.read(1))[1] != b"\n":
                end -= 1
            if end < size:
                file.truncate(end)


def _is_held(path: Path) -> bool:
    try:
        with path.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
