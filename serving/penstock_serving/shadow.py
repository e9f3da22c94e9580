"""A version that answers in the shadow: its answers are compared and counted, never returned."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from penstock_serving.comparison import Comparison
from penstock_serving.decoding import Asked
from penstock_serving.served import ServedModel

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
        self.comparison = Comparison(candidate.version)
        self._waiting: deque[tuple[Callable[[], Asked], list[float]]] = deque()
        self._wake = threading.Event()
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, body: bytes, decode: Callable[[ServedModel, bytes], Asked], predictions: list[float]) -> None:
        """A request and the scores of what its client has got: compared later, or skipped."""
        if len(self._waiting) >= WAITING or len(body) > LARGEST:
            self.comparison.skipped += 1
            return
        self._waiting.append((partial(decode, self.candidate, body), predictions))
        self._wake.set()

    def stop(self) -> None:
        """Compare no more."""
        self._stopped = True
        self._wake.set()

    def _work(self) -> None:
        while not self._stopped:
            if not self._waiting:
                self._wake.wait()
                self._wake.clear()
                continue
            decode, expected = self._waiting.popleft()
            began = time.perf_counter()
            self._compare(decode, expected)
            time.sleep(REST * (time.perf_counter() - began))

    def _compare(self, decode: Callable[[], Asked], expected: list[float]) -> None:
        began = time.perf_counter()
        try:
            answer = asyncio.run_coroutine_threadsafe(self.candidate.batcher.submit(decode().rows), self._loop)
            predictions = self.candidate.scores(answer.result(PATIENCE_SECONDS))
        except Exception:  # noqa: BLE001 (whatever it is, the candidate had no answer where another version had one)
            self.comparison.answered.answered(500, 0.0, None)
        else:
            self.comparison.compare(time.perf_counter() - began, predictions, expected)
