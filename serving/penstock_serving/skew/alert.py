"""Tells a webhook when skew begins, when it spreads to another column, and when it is over: once for all replicas."""

import contextlib
import fcntl
import http.client
import json
import logging
import threading
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from penstock_trainer.artifacts import write_atomically

ENVIRONMENT = "PENSTOCK_ALERT_WEBHOOK"
"""Names the URL, which often holds a secret and therefore has no place in a command line."""
TIMEOUT_SECONDS = 10.0
PAUSES_SECONDS = (1.0, 5.0, 30.0, 120.0)
"""Before each further try; after the last one, the end of the next window is the next chance."""

logger = logging.getLogger("penstock_serving")


class Alert:
    """Posts JSON to `url`, in a thread of its own. What was told is kept in `state`: a restart tells nothing twice.

    Where several processes share `state`, the one that holds its lock tells.
    """

    def __init__(self, url: str, state: Path | None, pauses: tuple[float, ...] = PAUSES_SECONDS) -> None:
        self._url = url
        self._state = state
        self._pauses = pauses
        self._told: list[str] = []
        self._busy = threading.Lock()
        self.delivered = 0
        self.failed = 0

    def tell(
        self, columns: list[str], message: Mapping[str, Any], moved: Collection[str] = ()
    ) -> threading.Thread | None:
        """Say that these columns are skewed (none: that it is over), unless that was told; returns at once.

        What has `moved`, but not for long enough to be skew, may be so again: it is not told to be over.

        The thread that delivers is returned; None while the one before is still trying.
        """
        if not self._busy.acquire(blocking=False):
            return None
        thread = threading.Thread(target=self._deliver, args=(columns, message, moved), name="alert", daemon=True)
        thread.start()
        return thread

    def _deliver(self, columns: list[str], message: Mapping[str, Any], moved: Collection[str]) -> None:
        try:
            with self._locked() as mine:
                if not mine:
                    return
                told = {*self._read()}
                lasting = {*columns, *told.intersection(moved)}
                is_news = bool({*columns} - told) or (bool(told) and not lasting)
                if is_news and self._post(json.dumps(message).encode()):
                    self._write(sorted(lasting))
        except OSError as exc:
            logger.error("alert state", exc_info=exc)
        finally:
            self._busy.release()

    def _post(self, body: bytes) -> bool:
        request = urllib.request.Request(self._url, body, {"content-type": "application/json"})
        for pause in (0.0, *self._pauses):
            time.sleep(pause)
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
                    self.delivered += 1
                    return True
            except (OSError, ValueError, http.client.HTTPException) as exc:
                self.failed += 1
                # The exception's text may hold the URL and its secret.
                fields = {"failure": type(exc).__name__, "code": getattr(exc, "code", None)}
                logger.warning("alert not delivered", extra={"fields": fields})
        return False

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bool]:
        """Whether this process is the one that tells; the lock ends with the process, however that ends."""
        if self._state is None:
            yield True
            return
        self._state.parent.mkdir(parents=True, exist_ok=True)
        with self._state.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _read(self) -> list[str]:
        if self._state is None:
            return self._told
        try:
            return list(json.loads(self._state.read_bytes())["columns"])
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def _write(self, columns: list[str]) -> None:
        self._told = columns
        if self._state is not None:
            write_atomically(self._state, json.dumps({"columns": columns}).encode())
