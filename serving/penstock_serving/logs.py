"""Structured logs: one JSON object a line on standard error, without a single value that a client posted."""

import json
import logging
import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

logger = logging.getLogger("penstock_serving")
_one_at_a_time = threading.Lock()


class JsonFormatter(logging.Formatter):
    """Time, level, logger and event, then the fields given as `extra={"fields": {...}}`.

    Of an exception it keeps the type and the frames but not the message, which may quote a person's row.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
            line["frames"] = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(record.exc_info[2])]
        return json.dumps(line)


def set_up_logs() -> None:
    """Send every logger of the process, and Python's warnings, through the formatter."""
    # Of its own, so that `library_lines` does not take these lines for a library's.
    handler = logging.StreamHandler(os.fdopen(os.dup(2), "w", encoding="utf-8"))
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)


@contextmanager
def library_lines() -> Iterator[None]:
    """What a library writes to standard error meanwhile, past every logger, becomes lines of the log."""
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)  # more than a pipe holds is lost, and nothing waits
    try:
        with _one_at_a_time, os.fdopen(os.dup(2), "wb") as standard:
            os.dup2(writing, 2)
            os.close(writing)
            try:
                yield
            finally:
                os.dup2(standard.fileno(), 2)
    finally:
        with os.fdopen(reading, "rb") as written:
            for line in (written.read() or b"").decode(errors="replace").splitlines():
                logger.info("library", extra={"fields": {"said": line}})
