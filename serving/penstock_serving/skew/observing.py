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

from penstock_serving.backends import Columns
from penstock_serving.schema import OBSERVED, STRINGS, Column, ColumnType
from penstock_serving.skew.training import cut
from penstock_serving.skew.windows import Window
from penstock_trainer.statistics import CategoryStatistics, NumberStatistics, Statistics

BLOCK_ROWS = 4096
"""Rows that are counted at a time."""
BLOCK_BYTES = 4 * 1024 * 1024
"""A block of rows that came as more is full too: long texts are cut when they are counted."""
WAITING_BLOCKS = 15
WAITING_BYTES = 32 * 1024 * 1024
"""What waits beyond this is not observed, but counted: memory is bounded whatever arrives."""
POLL_SECONDS = 1.0
MOST_CATEGORIES = 10_000
"""Of one column in one window; those let go are counted."""

logger = logging.getLogger("penstock_serving")


class _Block:
    """Rows on their way to being counted: numbers and predictions as they are, categories as counts."""

    def __init__(self, numbers: int, categories: Sequence[int]) -> None:
        self.values = np.empty((numbers + 1, BLOCK_ROWS), np.float32)
        """A row a column; the last row holds the predictions."""
        self.counts: dict[int, Counter[Any]] = {place: Counter() for place in categories}
        """By the column's place."""
        self.rows = self.bytes = 0

    def clear(self) -> None:
        """Make it as new."""
        for counts in self.counts.values():
            counts.clear()
        self.rows = self.bytes = 0


class Observer:
    """Counts the answered rows of one model. `add` copies them while they are at hand, in whichever thread they are
    answered, one call at a time; all else happens in a thread of its own.

    Copied at once, since rows that are kept for another thread leave the processor's cache, and the event loop with
    them: it became 40 % slower.

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
        self.observed = 0
        """Rows taken so far."""
        self.unobserved = 0
        """Rows that arrived while too many waited already."""
        self._numbers = [place for place, column in enumerate(columns) if column.type not in STRINGS]
        self._categories = [place for place, column in enumerate(columns) if column.type is ColumnType.CATEGORY]
        self._open = self._block()
        self._full: deque[_Block] = deque()
        self._free: deque[_Block] = deque()
        self._swapping = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._window = self._fresh()
        self._thread = threading.Thread(target=self._work, name="observe", daemon=True)

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def add(self, columns: Columns, predictions: Sequence[float], size: int) -> None:
        """Take answered rows that came as `size` bytes."""
        self._guarded(lambda: self._add(columns, predictions, size))

    def close(self) -> None:
        """Count what waits, finish the window, end the thread."""
        self._closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _add(self, columns: Columns, predictions: Sequence[float], size: int) -> None:
        start, numbers = 0, columns.numbers(self._numbers)
        while start < len(predictions):
            with self._swapping:
                block = self._open
                if block.rows == BLOCK_ROWS or block.bytes >= BLOCK_BYTES:
                    if len(self._full) >= WAITING_BLOCKS or sum(full.bytes for full in self._full) > WAITING_BYTES:
                        self.unobserved += len(predictions) - start
                        return
                    self._swap()
                    block = self._open
                end = min(len(predictions), start + BLOCK_ROWS - block.rows)
                places = slice(block.rows, block.rows + end - start)
                block.values[:-1, places] = numbers[:, start:end]
                block.values[-1, places] = predictions[start:end]
                for place, counts in block.counts.items():
                    counts.update(columns[place][start:end])
                block.rows += end - start
                block.bytes += size
                self.observed += end - start
            start, size = end, 0

    def _swap(self) -> None:
        """The open block is full, or its window's time is over."""
        self._full.append(self._open)
        self._open = self._free.popleft() if self._free else self._block()
        self._wake.set()

    def _work(self) -> None:
        self._guarded(self._on_start)
        while True:
            self._wake.wait(min(POLL_SECONDS, max(0.01, self._window.end - self._clock())))
            self._wake.clear()
            closed = self._closed
            over = closed or self._clock() >= self._window.end
            if over:
                with self._swapping:
                    self._swap()
            while self._full:
                block = self._full[0]
                self._guarded(lambda: self._count(block))  # noqa: B023 (called at once)
                block.clear()
                self._free.append(self._full.popleft())
            if over:
                self._finish_window()
            if closed:
                return

    def _count(self, block: _Block) -> None:
        """Add a block to the window."""
        if not block.rows:
            return
        window, values = self._window, block.values[:, : block.rows]
        values[-1][np.isinf(values[-1])] = np.nan
        for index, place in enumerate(self._numbers):
            window.columns[self._columns[place].name].merge(NumberStatistics.of(values[index]))  # pyright: ignore[reportArgumentType]
            time.sleep(0)  # the event loop may have the interpreter between two columns
        for place, counts in block.counts.items():
            column = window.columns[self._columns[place].name]
            assert isinstance(column, CategoryStatistics)
            column.merge(_categories(counts))
            column.bound(MOST_CATEGORIES)
            time.sleep(0)
        window.predictions.merge(NumberStatistics.of(values[-1]))
        window.rows += block.rows

    def _finish_window(self) -> None:
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

    def _block(self) -> _Block:
        return _Block(len(self._numbers), self._categories)

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
