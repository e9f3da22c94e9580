"""Accumulates the statistics of what one model receives and answers, beside the requests and never in their way.

Only sketches are kept and written, no row. What is accumulated in one window is lost with a killed process, no more.
"""

import logging
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from penstock_serving.backends import Columns
from penstock_serving.schema import STRINGS, Column, ColumnType
from penstock_serving.skew.training import cut
from penstock_serving.skew.windows import Window
from penstock_trainer.examples import MISSING
from penstock_trainer.moments import parts
from penstock_trainer.statistics import CategoryStatistics, NumberStatistics, Statistics

BLOCK_ROWS = 16_384
"""From so many rows on they are counted: a column's statistics cost as much again as its rows where those are few."""
BLOCK_BYTES = 4 * 1024 * 1024
"""A block of rows that came as more is full too: long texts are cut when they are counted."""
WAITING_BLOCKS = 3
WAITING_BYTES = 32 * 1024 * 1024
"""What waits beyond this is not observed, but counted: memory is bounded whatever arrives."""
CALLS = 64
"""What so many calls have left becomes one array each: small arrays that stay keep the processor's cache from the event
loop, and take more memory than what is in them."""
POLL_SECONDS = 1.0
MOST_CATEGORIES = 10_000
"""Of one column in one window; those let go are counted."""

logger = logging.getLogger("penstock_serving")
FAILED = "observing failed"
"""Said with the fault's frames, and no value of a row."""
_Cell = TypeVar("_Cell", bound=np.generic)


class _Block:
    """Answered rows on their way to being counted: what the backend made of them as it is, other categories as counts.

    Arrays, not the rows: objects that are kept for another thread leave the processor's cache, and the event loop with
    them, which became 40 % slower.
    """

    def __init__(self, categories: Sequence[int]) -> None:
        self.numbers = _Pieces[np.float32]()
        """Of shape [number columns, rows]."""
        self.moments = _Pieces[np.int32]()
        """Of shape [2 * timestamps, rows], where the model has any."""
        self.codes = _Pieces[np.int32]()
        """Of shape [category columns, rows], of those batches whose categories were looked up."""
        self.counts: dict[int, Counter[Any]] = {place: Counter() for place in categories}
        """Of the categories that have no code, by the column's place."""
        self.predictions: list[float] = []
        self.bytes = 0


class _Pieces(Generic[_Cell]):
    """Arrays of one height that become one."""

    def __init__(self) -> None:
        self._joined: list[NDArray[_Cell]] = []
        self._latest: list[NDArray[_Cell]] = []

    def add(self, piece: NDArray[_Cell]) -> None:
        """Take what one call has left."""
        latest = self._latest
        latest.append(piece)
        if len(latest) == CALLS:
            self._joined.append(np.concatenate(latest, axis=1))
            latest.clear()

    def __bool__(self) -> bool:
        return bool(self._joined or self._latest)

    def whole(self) -> NDArray[_Cell]:
        """All of them, one after the other."""
        return np.concatenate([*self._joined, *self._latest], axis=1)


class Observer:
    """Counts the answered rows of one model. `add` takes what there is of them, in whichever thread they are answered,
    one call at a time; all else happens in a thread of its own.

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
        self.replica = _name()
        self.observed = 0
        """Rows taken so far."""
        self.unobserved = 0
        """Rows that arrived while too many waited already."""
        self._numbers = [place for place, column in enumerate(columns) if column.type not in STRINGS]
        self._timestamps = [place for place, column in enumerate(columns) if column.type is ColumnType.TIMESTAMP]
        self._categories = [place for place, column in enumerate(columns) if column.type is ColumnType.CATEGORY]
        self._words: Mapping[int, Sequence[str]] = {}
        self._codes: dict[int, NDArray[np.int64]] = {}
        """How often `MISSING` and each code has come in this window, by the column's place."""
        self._open = self._block()
        self._full: deque[_Block] = deque()
        self._refused: Counter[tuple[str, str]] = Counter()
        self._swapping = threading.Lock()
        self._wake = threading.Event()
        self.prepared = threading.Event()
        """Set when `on_start` has come back."""
        self._closed = False
        self._window = self._fresh()
        self._thread = threading.Thread(target=self._work, name="observe", daemon=True)

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def add(self, columns: Columns, predictions: Sequence[float], size: int) -> None:
        """Take answered rows that came as `size` bytes."""
        try:
            self._add(columns, predictions, size)
        except Exception as exc:
            logger.error(FAILED, exc_info=exc)

    def refuse(self, column: str, reason: str, rows: int) -> None:
        """Take rows that got no answer for this reason."""
        with self._swapping:
            self._refused[column, reason] += rows

    def close(self) -> None:
        """Count what waits, finish the window, end the thread."""
        self._closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _add(self, columns: Columns, predictions: Sequence[float], size: int) -> None:
        numbers = columns.numbers(self._numbers)
        with self._swapping:
            block = self._open
            if len(block.predictions) >= BLOCK_ROWS or block.bytes >= BLOCK_BYTES:
                if len(self._full) >= WAITING_BLOCKS or sum(full.bytes for full in self._full) > WAITING_BYTES:
                    self.unobserved += len(predictions)
                    return
                block = self._swap()
            block.numbers.add(numbers)
            if self._timestamps:
                block.moments.add(columns.moments(self._timestamps))
            block.predictions += predictions
            block.bytes += size
            categories = columns.categories
            if categories is None:
                for place, counts in block.counts.items():
                    counts.update(columns[place])
            else:
                self._words = categories.words
                block.codes.add(categories.codes)
                for place, texts in categories.unknown.items():
                    block.counts[place].update(texts)
            self.observed += len(predictions)

    def _swap(self) -> _Block:
        """The open block is full, or its window's time is over: the next one."""
        self._full.append(self._open)
        self._open = self._block()
        self._wake.set()
        return self._open

    def _work(self) -> None:
        self._guarded(self._on_start)
        self.prepared.set()
        while True:
            self._wake.wait(min(POLL_SECONDS, max(0.01, self._window.end - self._clock())))
            self._wake.clear()
            closed = self._closed
            went_back = self._clock() < self._window.start
            over = closed or went_back or self._clock() >= self._window.end
            if over:
                with self._swapping:
                    self._swap()
            while self._full:
                block = self._full[0]
                self._guarded(lambda: self._count(block))  # noqa: B023 (called at once)
                self._full.popleft()
            if over:
                self._finish_window()
            if went_back:  # windows of the same time are there already, by this name
                self.replica = _name()
            if closed:
                return

    def _count(self, block: _Block) -> None:
        """Add a block to the window."""
        if not block.predictions:
            return
        window = self._window
        for place, values in zip(self._numbers, block.numbers.whole(), strict=True):
            window.columns[self._columns[place].name].merge(NumberStatistics.of(values))  # pyright: ignore[reportArgumentType]
            time.sleep(0)  # the event loop may have the interpreter between two columns
        if block.moments:
            self._count_parts(block.moments.whole())
        if block.codes:
            for (place, words), codes in zip(self._words.items(), block.codes.whole(), strict=True):
                counts = np.bincount(codes[codes >= MISSING] - MISSING, minlength=len(words) - MISSING)
                self._codes[place] = counts + self._codes.get(place, 0)
        for place, counts in block.counts.items():
            if counts:
                self._merge(place, _categories(counts))
                time.sleep(0)
        predictions = np.array(block.predictions, np.float32)
        predictions[np.isinf(predictions)] = np.nan
        window.predictions.merge(NumberStatistics.of(predictions))
        window.rows += len(predictions)

    def _count_parts(self, cells: NDArray[np.int32]) -> None:
        for place, found in zip(self._timestamps, np.split(cells, len(self._timestamps)), strict=True):
            column = self._columns[place]
            for part, values in parts(found, column.parts).items():
                self._window.columns[f"{column.name}_{part}"].merge(NumberStatistics.of(values))  # pyright: ignore[reportArgumentType]
                time.sleep(0)

    def _merge(self, place: int, found: CategoryStatistics) -> None:
        column = self._window.columns[self._columns[place].name]
        assert isinstance(column, CategoryStatistics)
        column.merge(found)
        column.bound(MOST_CATEGORIES)

    def _finish_window(self) -> None:
        for place, counts in self._codes.items():
            self._merge(place, _known(counts, self._words[place]))
        self._codes.clear()
        finished, self._window = self._window, self._fresh()
        with self._swapping:
            refused, self._refused = self._refused, Counter()
        for (column, reason), rows in refused.items():
            finished.refused.setdefault(column, Counter())[reason] = rows
        if finished.received:
            finished.end = max(finished.start, min(finished.end, self._clock()))
            self._guarded(lambda: self._on_window(finished, self.replica))

    def _guarded(self, step: Callable[[], None]) -> None:
        """A fault of ours must not end the counting."""
        try:
            step()
        except Exception as exc:
            logger.error(FAILED, exc_info=exc)

    def _block(self) -> _Block:
        return _Block(self._categories)

    def _fresh(self) -> Window:
        """An empty window up to the next multiple of its length, so that those of all processes cover the same time."""
        now = self._clock()
        types = {ColumnType.CATEGORY: CategoryStatistics}
        columns: Statistics = {
            name: types.get(kind, NumberStatistics)() for c in self._columns for name, kind in c.observed.items()
        }
        return Window(self._model, now, (now // self._seconds + 1) * self._seconds, columns=columns)


def _name() -> str:
    return uuid.uuid4().hex[:8]


def _known(counts: NDArray[np.int64], words: Sequence[str]) -> CategoryStatistics:
    """`counts` of the missing and of each of `words`."""
    found = {code: count for code, count in enumerate(counts[1:].tolist()) if count}
    return CategoryStatistics.of((cut(words[code]) for code in found), found.values(), int(counts[0]))


def _categories(counts: "Counter[Any]") -> CategoryStatistics:
    missing = counts.pop(None, 0) + counts.pop("", 0)
    # `of` adds up what becomes equal by being cut.
    return CategoryStatistics.of(map(cut, counts), counts.values(), missing)
