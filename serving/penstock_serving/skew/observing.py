"""Accumulates the statistics of what one model receives and answers, beside the requests and never in their way.

Only sketches are kept and written, no row. What is accumulated in one window is lost with a killed process, no more.
"""

import logging
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from penstock_serving.schema import OBSERVED, STRINGS, Column, ColumnType
from penstock_serving.skew.training import cut
from penstock_serving.skew.windows import Window
from penstock_trainer.statistics import CategoryStatistics, NumberStatistics, Statistics

BLOCK_ROWS = 256
"""Rows that are copied at a time."""
SUM_ROWS = 4096
"""Rows that are counted at a time."""
BLOCK_BYTES = 4 * 1024 * 1024
WAITING_ROWS = 64 * 1024
WAITING_BYTES = 32 * 1024 * 1024
"""What waits beyond this is not observed, but counted: memory is bounded whatever arrives."""
POLL_SECONDS = 1.0
MOST_CATEGORIES = 10_000
"""Of one column in one window; those let go are counted."""

logger = logging.getLogger("penstock_serving")
Rows = Sequence[Sequence[Any]]


class Observer:
    """Counts the answered requests of one model. `add` is called in the event loop, all else happens in a thread.

    `on_start` is called first and `on_window` gets every finished window and this process's name, both in the thread.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        model: str,
        window_seconds: float,
        on_window: Callable[[Window, str], None],
        on_start: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._columns = columns
        self._model = model
        self._seconds = window_seconds
        self._on_start, self._on_window = on_start, on_window
        self._clock = clock
        self.replica = uuid.uuid4().hex[:8]
        self.unobserved = 0
        """Rows that arrived while too many waited already."""
        self._waiting: deque[tuple[Rows, Sequence[float], int]] = deque()
        self._added_rows = self._added_bytes = self._taken_rows = self._taken_bytes = 0
        self._wake = threading.Event()
        self._closed = False
        self._numbers = [place for place, column in enumerate(columns) if column.type not in STRINGS]
        self._counts: dict[int, Counter[Any]] = {
            place: Counter() for place, column in enumerate(columns) if column.type is ColumnType.CATEGORY
        }
        self._values = np.empty((len(self._numbers) + 1, SUM_ROWS), np.float32)
        """Of the rows held, not counted yet: the numbers, column by column, and the predictions."""
        self._held = self._held_bytes = 0
        self._window = self._fresh()
        self._thread = threading.Thread(target=self._work, name="observe", daemon=True)

    @property
    def observed(self) -> int:
        """Rows handed over so far and not refused."""
        return self._added_rows

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def add(self, rows: Rows, predictions: Sequence[float], size: int) -> None:
        """Take one answered request, of a body of `size` bytes; returns at once."""
        waiting_rows, waiting_bytes = self._added_rows - self._taken_rows, self._added_bytes - self._taken_bytes
        if waiting_rows and (waiting_rows + len(rows) > WAITING_ROWS or waiting_bytes + size > WAITING_BYTES):
            self.unobserved += len(rows)
            return
        self._added_rows += len(rows)
        self._added_bytes += size
        self._waiting.append((rows, predictions, size))
        if (waiting_rows > BLOCK_ROWS or waiting_bytes > BLOCK_BYTES) and not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Count what waits, finish the window, end the thread."""
        self._closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        self._guarded(self._on_start)
        while True:
            self._wake.wait(min(POLL_SECONDS, max(0.01, self._window.end - self._clock())))
            self._wake.clear()
            closed = self._closed
            while self._waiting:
                self._count_block()
            if closed or self._clock() >= self._window.end:
                self._finish_window()
            if closed:
                return

    def _count_block(self) -> None:
        rows: list[Sequence[Any]] = []
        predictions: list[float] = []
        size = 0
        while self._waiting and len(rows) < BLOCK_ROWS and size < BLOCK_BYTES:
            more, answers, bytes_ = self._waiting.popleft()
            rows += more
            predictions += answers
            size += bytes_
        self._guarded(lambda: self._hold(rows, predictions))
        self._held_bytes += size
        if self._held_bytes > BLOCK_BYTES:  # long texts are cut when they are counted
            self._guarded(self._sum)
        self._taken_rows += len(rows)
        self._taken_bytes += size

    def _hold(self, rows: Rows, predictions: Sequence[float]) -> None:
        """Copy what is counted out of the rows, while they are still in the processor's cache."""
        for start in range(0, len(rows), SUM_ROWS):
            part = rows[start : start + SUM_ROWS]
            if self._held + len(part) > SUM_ROWS:
                self._sum()
            places = slice(self._held, self._held + len(part))
            columns = list(zip(*part, strict=True))
            for index, place in enumerate(self._numbers):
                self._values[index, places] = columns[place]
            self._values[-1, places] = predictions[start : start + SUM_ROWS]
            for place, counts in self._counts.items():
                counts.update(columns[place])
            self._held += len(part)

    def _sum(self) -> None:
        """Add what is held to the window."""
        window, held = self._window, self._values[:, : self._held]
        held[-1][np.isinf(held[-1])] = np.nan
        for index, place in enumerate(self._numbers):
            window.columns[self._columns[place].name].merge(NumberStatistics.of(held[index]))  # pyright: ignore[reportArgumentType]
            time.sleep(0)  # the event loop may have the interpreter between two columns
        for place, counts in self._counts.items():
            column = window.columns[self._columns[place].name]
            assert isinstance(column, CategoryStatistics)
            column.merge(_categories(counts))
            column.bound(MOST_CATEGORIES)
            counts.clear()
            time.sleep(0)
        window.predictions.merge(NumberStatistics.of(held[-1]))
        window.rows += self._held
        self._held = self._held_bytes = 0

    def _finish_window(self) -> None:
        self._guarded(self._sum)
        finished, self._window = self._window, self._fresh()
        if finished.rows:
            finished.end = min(finished.end, self._clock())
            self._guarded(lambda: self._on_window(finished, self.replica))

    def _guarded(self, step: Callable[[], None]) -> None:
        """A fault of ours must not end the counting; the log has its frames, and no value of a row."""
        try:
            step()
        except Exception as exc:
            logger.error("observing failed", exc_info=exc)

    def _fresh(self) -> Window:
        """An empty window up to the next multiple of its length, so that those of all processes cover the same time."""
        now = self._clock()
        types = {ColumnType.CATEGORY: CategoryStatistics}
        columns: Statistics = {
            c.name: types.get(c.type, NumberStatistics)() for c in self._columns if c.type in OBSERVED
        }
        return Window(self._model, now, (now // self._seconds + 1) * self._seconds, columns=columns)


def _categories(counts: "Counter[Any]") -> CategoryStatistics:
    missing = counts.pop(None, 0) + counts.pop("", 0)
    # `of` adds up what becomes equal by being cut.
    return CategoryStatistics.of(map(cut, counts), counts.values(), missing)
