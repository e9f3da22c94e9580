"""A request for predictions on its way: decoded, answered by its model's version, counted."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from penstock_serving.bodies import BESIDE
from penstock_serving.decoding import Asked
from penstock_serving.errors import RequestError, RowError
from penstock_serving.served import ServedModel
from penstock_serving.versions import Versions

LARGE_BODY = 64 * 1024
"""From this size on a body is decoded beside the event loop, which answers others meanwhile."""

Decode = Callable[[ServedModel, bytes], Asked]
"""What reads a body for one version, which may refuse it."""
Done = Callable[[ServedModel, Any], None]
"""Gets the version that answered, and its answer: what the decoded request makes of it, or the exception it met."""


class Question:
    """Lives in the event loop. By callbacks: a task for every request would cost about as much as the model.

    Without a version that is `asked` for it is chosen by the key, or else by the body. `started`: when the request
    began to arrive, as `time.perf_counter` tells.
    """

    __slots__ = ("_answer", "_asked", "_body", "_decode", "_done", "_served", "_started", "_versions")

    def __init__(
        self,
        versions: Versions,
        body: bytes,
        decode: Decode,
        key: bytes | None,
        asked: ServedModel | None,
        started: float,
        done: Done,
    ) -> None:
        self._versions, self._body, self._decode, self._asked = versions, body, decode, asked
        self._started, self._done = started, done
        self._served = asked or versions.only or versions.choose(key or body)

    def begin(self) -> None:
        """Decode and queue the rows; `done` is called now, if they are refused, or in a later turn of the loop."""
        if len(self._body) < LARGE_BODY:
            try:
                request = self._decode(self._served, self._body)
            except Exception as exc:  # noqa: BLE001 (the request's boundary, where the version is known)
                self._refused(exc)
            else:
                self._submit(request)
            return
        decoding = asyncio.get_running_loop().run_in_executor(BESIDE, self._decode, self._served, self._body)
        decoding.add_done_callback(self._decoded)

    def _decoded(self, decoding: "asyncio.Future[Asked]") -> None:
        failure = decoding.exception()
        if failure is None:
            self._submit(decoding.result())
        else:
            self._refused(failure)

    def _refused(self, failure: BaseException) -> None:
        """Its rows cannot be read: what comes with them is skew too."""
        if isinstance(failure, RowError) and self._served.skew is not None:
            self._served.skew.refuse(failure.column, failure.reason, failure.rows)
        self._finish(failure)

    def _submit(self, request: Asked) -> None:
        self._answer = request.answer
        try:
            self._served.ask(request.rows, len(self._body), self._answered)
        except Exception as exc:  # noqa: BLE001 (as above)
            self._finish(exc)

    def _answered(self, predictions: Any) -> None:
        """The model's answers, or an exception."""
        if isinstance(predictions, Exception):
            self._finish(predictions)
            return
        scores = self._served.scores(predictions) if self._versions.tallies is not None else None
        try:
            answer = self._answer(predictions)
        except Exception as exc:  # noqa: BLE001 (as above)
            self._finish(exc)
        else:
            self._finish(answer, scores)

    def _finish(self, answer: Any, scores: list[float] | None = None) -> None:
        served, versions = self._served, self._versions
        seconds = time.perf_counter() - self._started
        served.metrics.seconds.observe(seconds)
        if versions.tallies is not None:
            failed = isinstance(answer, Exception)
            status = (answer.status if isinstance(answer, RequestError) else 500) if failed else 200
            versions.tally(served, status, seconds, scores)
            if versions.shadow is not None and scores is not None and self._asked is None:
                versions.shadow.offer(self._body, self._decode, scores)
        self._done(served, answer)


class Hurried(Question):
    """One that is of no use any more after `due`, in `time.perf_counter`'s seconds."""

    __slots__ = ("_due",)

    def __init__(self, versions: Versions, *question: Any, due: float) -> None:
        super().__init__(versions, *question)
        self._due = due

    def _submit(self, request: Asked) -> None:
        self._answer = request.answer
        try:
            self._served.ask(request.rows, len(self._body), self._answered, self._due)
        except Exception as exc:  # noqa: BLE001 (the request's boundary)
            self._finish(exc)
