"""Batching while busy: rows that arrive during a model call share the next one; an idle model waits for no one.

A model that answers faster than another thread could be told to is called in the event loop itself, once for all rows
that arrived in one turn of it.
"""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress

from penstock_serving.backends import Answers, Columns, RowRefusedError
from penstock_serving.decoding import Row
from penstock_serving.errors import DeadlineError, QueueFullError, RequestError

Predict = Callable[[Columns], Answers]
Done = Callable[["Answers | Exception"], None]
OnAnswers = Callable[[Columns, Answers, int], None]

DEADLINE_SECONDS = 60.0
"""After so long a request that waits for a loaded model, or for the end of its call, is told that it takes too long."""
LOOKS = 20
"""So often within that time such requests are looked for, but not more often than every tenth of a second."""
CLOSING_SECONDS = 1.0
"""For so long the end is held up by a call of the model; one that hangs ends with the process."""

logger = logging.getLogger("penstock_serving")


@dataclass
class _Waiting:
    """One request's rows, how many bytes they came as, where the answer goes, and how many came before it."""

    rows: list[Row]
    size: int
    done: Done
    number: int
    due: float = field(default=math.inf, init=False)


class Batcher:
    """Feeds a backend from one thread, so that the event loop stays free; at most `queue_rows` rows wait.

    Up to `quick_rows` rows are answered in the event loop while the thread rests: never both at a time. A request is
    never split; one of more than `batch_rows` rows makes a call of its own size.
    """

    def __init__(
        self,
        predict: Predict,
        *,
        batch_rows: int = 1024,
        queue_rows: int = 16384,
        quick_rows: int = 0,
        deadline_seconds: float = DEADLINE_SECONDS,
        on_batch: Callable[[int], None],
        on_answers: OnAnswers | None = None,
    ) -> None:
        """A request that the loaded model has not answered after `deadline_seconds`, a twentieth more at most, is told
        so; the model is not asked for it any more.

        `on_batch` gets the rows of each call before it. `on_answers` gets the columns, the answers and the bytes of
        all requests that a call answered and that came by `ask`, in the thread that made the call.
        """
        self._predict = predict
        self._batch_rows = batch_rows
        self._queue_rows = queue_rows
        self._quick_rows = quick_rows
        self._on_batch, self._on_answers = on_batch, on_answers
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Waiting] = deque()
        self._rows = 0
        self._closed = False
        self._threaded = quick_rows == 0
        """Whether it is the thread's turn: until nothing waits any more where the event loop may answer too."""
        self._soon = True
        """Whether the event loop will look at the queue anyhow; before the start there is no use in it."""
        self._abandoned: RequestError | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="predict", daemon=True)
        self._called: list[_Waiting] = []
        """What the thread's call is about."""
        self._called_at = math.inf
        """When it began."""
        self._asked = 0
        """Requests that came so far."""
        self._deadline_seconds = deadline_seconds
        self._looks: deque[tuple[float, int]] = deque()
        """When late requests were looked for, and how many had come until then: so no request has to have a clock."""
        self._early = 0
        """So many requests came longer ago than the deadline."""
        self._last_due = -math.inf
        """After this no request is due by its own word."""
        self._pause = max(0.1, deadline_seconds / LOOKS)
        self._loop.call_later(self._pause, self._look)

    @property
    def waiting_rows(self) -> int:
        """How many rows wait for the model just now."""
        return self._rows

    @property
    def stuck(self) -> bool:
        """Whether the thread's call has gone on for longer than anybody waits for it, and is not over."""
        return time.perf_counter() - self._called_at > self._deadline_seconds

    def start(self) -> None:
        """Begin to answer: what was submitted before waits until now."""
        self._thread.start()
        if not self._threaded:
            self._loop.call_soon(self._answer_quickly)

    def ask(self, rows: list[Row], size: int, done: Done, due: float | None = None) -> None:
        """`done` gets the predictions of `rows`, in their order, or an exception, in a later turn of the event loop.

        `size`: the bytes that the rows came as. After `due`, in `time.perf_counter`'s seconds, the answer is of no use:
        the model is not asked, and `done` gets a DeadlineError.

        Raises:
            QueueFullError: too many rows wait already.
            RequestError: the model will not be there to answer them.
        """
        with self._changed:
            if self._abandoned is not None:
                raise self._abandoned
            if self._queue and self._rows + len(rows) > self._queue_rows:
                raise QueueFullError(
                    f"{self._rows} rows wait already, {len(rows)} more would pass the limit of {self._queue_rows}",
                    {"retry-after": "1"},
                )
            self._queue.append(_Waiting(rows, size, done, self._asked))
            self._asked += 1
            self._rows += len(rows)
            if due is not None:
                self._queue[-1].due = due
                self._last_due = max(self._last_due, due)
                self._loop.call_later(max(0.0, due - time.perf_counter()), self._tell_late)
            if self._threaded:
                self._changed.notify()
            elif not self._soon:
                self._soon = True
                self._loop.call_soon(self._answer_quickly)

    async def submit(self, rows: list[Row]) -> Answers:
        """The predictions of `rows`, which no client asked for.

        Raises:
            QueueFullError: too many rows wait already.
            RequestError: the model refused one of these rows, or will not be there to answer them.
        """
        answer: asyncio.Future[Answers] = self._loop.create_future()

        def done(found: Answers | Exception) -> None:
            if answer.done():  # whoever asked has given up
                return
            if isinstance(found, Exception):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        self.ask(rows, 0, done)
        return await answer

    def abandon(self, reason: RequestError) -> None:
        """Answer everything that waits, or comes later, with `reason`."""
        with self._changed:
            self._abandoned = reason
            abandoned = list(self._queue)
            self._queue.clear()
            self._rows = 0
        _deliver(abandoned, [reason] * len(abandoned))

    def close(self) -> None:
        """Answer what waits, then end the thread; a call that does not end by then is left to itself."""
        with self._changed:
            self._closed = self._threaded = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(CLOSING_SECONDS)
            if self._thread.is_alive():
                logger.warning("a call of the model does not end")

    def _answer_quickly(self) -> None:
        """Answer what waits here and now if it is little; else it is the thread's turn."""
        with self._changed:
            self._soon = False
            if self._threaded or not self._queue:
                return
            if self._rows > self._quick_rows:
                self._threaded = True
                self._changed.notify()
                return
            late = self._late()
            batch = list(self._queue)
            self._queue.clear()
            self._rows = 0
        _deliver_late(late)
        if batch:
            _deliver(batch, self._answers(batch))

    def _work(self) -> None:
        while batch := self._next_batch():
            answers = self._answers(batch)
            if self._loop.is_closed():  # the call has outlived the server
                return
            self._loop.call_soon_threadsafe(_deliver, batch, answers)

    def _next_batch(self) -> list[_Waiting]:
        """All that waits, up to `batch_rows` rows; empty when there is nothing left to come."""
        with self._changed:
            self._called, self._called_at = [], math.inf
            if not self._queue and self._quick_rows:
                self._threaded = False
            self._drop_late()
            while not (self._queue and self._threaded) and not self._closed:
                self._changed.wait()
                self._drop_late()
            batch: list[_Waiting] = []
            rows = 0
            while self._queue and (not batch or rows + len(self._queue[0].rows) <= self._batch_rows):
                batch.append(self._queue.popleft())
                rows += len(batch[-1].rows)
            self._rows -= rows
            self._called, self._called_at = batch, time.perf_counter()
            return batch

    def _look(self) -> None:
        """Find those that came longer ago than the deadline, again and again; in the event loop."""
        if self._closed:
            return
        now = time.perf_counter()
        with self._changed:
            if self._thread.is_alive():  # while a model loads, what came waits for as long as that takes
                self._looks.append((now, self._asked))
            while self._looks and self._looks[0][0] <= now - self._deadline_seconds:
                self._early = self._looks.popleft()[1]
        self._tell_late()
        self._loop.call_later(self._pause, self._look)

    def _tell_late(self) -> None:
        """Answer those whose time is over, in the queue or in a call; in the event loop."""
        now = time.perf_counter()
        with self._changed:
            late = self._late()
            late += [called for called in self._called if called.number < self._early or called.due <= now]
        _deliver_late(late)

    def _drop_late(self) -> None:
        """The same for the queue alone, in any thread; with the lock."""
        if late := self._late():
            self._loop.call_soon_threadsafe(_deliver_late, late)

    def _late(self) -> list[_Waiting]:
        """Those whose time is over, taken out of the queue; with the lock."""
        if self._last_due == -math.inf and not (self._queue and self._queue[0].number < self._early):
            return []
        now = time.perf_counter()
        late: list[_Waiting] = []
        rest: deque[_Waiting] = deque()
        for waiting in self._queue:
            (late if waiting.number < self._early or waiting.due <= now else rest).append(waiting)
        self._queue = rest
        self._rows -= sum(len(waiting.rows) for waiting in late)
        if now >= self._last_due:
            self._last_due = -math.inf
        return late

    def _answers(self, batch: list[_Waiting]) -> list[Answers | Exception]:
        """One answer a request; a call that fails is repeated request by request: none fails by another's row."""
        try:
            predictions = self._call(batch)
        except Exception as exc:  # noqa: BLE001 (the thread outlives whatever a model's graph raises)
            if len(batch) > 1:
                return [self._answers([waiting])[0] for waiting in batch]
            return [RequestError(f"the model refuses a row: {exc}") if isinstance(exc, RowRefusedError) else exc]
        answers: list[Answers | Exception] = []
        start = 0
        for waiting in batch:
            answers.append(predictions[start : start + len(waiting.rows)])
            start += len(waiting.rows)
        return answers

    def _call(self, batch: list[_Waiting]) -> Answers:
        rows = [row for waiting in batch for row in waiting.rows]
        self._on_batch(len(rows))
        columns = Columns(zip(*rows, strict=True))
        predictions = self._predict(columns)
        if len(predictions) != len(rows):
            raise RuntimeError(f"the model gave {len(predictions)} predictions for {len(rows)} rows")
        if self._on_answers is not None:
            self._on_answers(*_of_clients(batch, columns, predictions))
        return predictions


def _of_clients(batch: list[_Waiting], columns: Columns, predictions: Answers) -> tuple[Columns, Answers, int]:
    """The columns, the answers and the bytes of the requests that came by `ask`."""
    sizes = [waiting.size for waiting in batch]
    if not all(sizes):
        asked = [waiting.size > 0 for waiting in batch for _ in waiting.rows]
        columns = Columns(list(compress(column, asked)) for column in columns)
        predictions = list(compress(predictions, asked))
    return columns, predictions, sum(sizes)


def _deliver(batch: list[_Waiting], answers: Sequence[Answers | Exception]) -> None:
    for waiting, answer in zip(batch, answers, strict=True):
        waiting.done(answer)


def _deliver_late(late: Sequence[_Waiting]) -> None:
    for waiting in late:
        done, waiting.done = waiting.done, _ignored
        done(DeadlineError("the model did not answer in the time that the server, or the request itself, gives it"))


def _ignored(_answer: Answers | Exception) -> None:
    """The answer to one that has been told already."""
