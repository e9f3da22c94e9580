"""A version that answers in the shadow: its answers are compared and counted, never returned."""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from penstock_serving.served import ServedModel
from penstock_serving.tally import Tally

WAITING = 256
"""Requests that wait to be compared, at most; what comes when so many wait is skipped, and counted."""
LARGEST = 64 * 1024
"""Larger bodies are skipped."""
REST = 3.0
"""After each comparison, so many times as long as it took is left to the versions that answer clients."""
PATIENCE_SECONDS = 30.0


class Shadow:
    """Compares in a thread of its own, which takes a quarter of one core's time at most.

    That thread has the priority of the others: a slow one that held Python's lock would make them wait for it.
    """

    def __init__(self, candidate: ServedModel) -> None:
        """Called in the event loop."""
        self.candidate = candidate
        self.skipped = 0
        self.answered, self.asked = Tally(), Tally()
        """Of the candidate, and of the version that answered the same requests."""
        self.differences, self.largest = 0.0, 0.0
        """The sum of the absolute differences, row by row, and the largest of them."""
        self._waiting: deque[tuple[bytes, list[float]]] = deque()
        self._wake = threading.Event()
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, body: bytes, predictions: list[float]) -> None:
        """A request and what its client has got: compared later, or skipped."""
        if len(self._waiting) >= WAITING or len(body) > LARGEST:
            self.skipped += 1
            return
        self._waiting.append((body, predictions))
        self._wake.set()

    def stop(self) -> None:
        """Compare no more."""
        self._stopped = True
        self._wake.set()

    def summary(self) -> dict[str, Any]:
        """What the comparison has found so far, for people."""
        return summary(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """The counts, for people and for the rollout's gates."""
        return {
            "version": self.candidate.version,
            "skipped": self.skipped,
            "differences": self.differences,
            "largest": self.largest,
            "answered": self.answered.as_json(),
            "asked": self.asked.as_json(),
        }

    def _work(self) -> None:
        while not self._stopped:
            if not self._waiting:
                self._wake.wait()
                self._wake.clear()
                continue
            body, expected = self._waiting.popleft()
            began = time.perf_counter()
            self._compare(body, expected)
            time.sleep(REST * (time.perf_counter() - began))

    def _compare(self, body: bytes, expected: list[float]) -> None:
        began = time.perf_counter()
        try:
            rows = self.candidate.decoder.decode(body).rows
            answer = asyncio.run_coroutine_threadsafe(self.candidate.batcher.submit(rows), self._loop)
            predictions = answer.result(PATIENCE_SECONDS)
        except Exception:  # noqa: BLE001 (whatever it is, the candidate had no answer where another version had one)
            self.answered.answered(500, 0.0, None)
            return
        self.answered.answered(200, time.perf_counter() - began, predictions)
        self.asked.scored(expected)
        for mine, its in zip(predictions, expected, strict=True):
            difference = abs(mine - its)
            if math.isfinite(difference):
                self.differences += difference
                self.largest = max(self.largest, difference)


def summary(counts: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of a comparison, of one process or added up over several, in words for people."""
    answered = Tally.of(counts["answered"])
    return {
        "version": counts["version"],
        "compared": answered.requests,
        "skipped": counts["skipped"],
        "failed": answered.failed,
        "mean_difference": answered.mean - Tally.of(counts["asked"]).mean,
        "mean_absolute_difference": counts["differences"] / max(1, answered.rows),
        "largest_difference": counts["largest"],
    }
