"""One version being served: the artifact, what decodes its requests and what answers them."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from penstock_serving.backends import Backend, Columns
from penstock_serving.batching import DEADLINE_SECONDS, Batcher, Done
from penstock_serving.decoding import RequestDecoder, Row
from penstock_serving.errors import RequestError, UnavailableError
from penstock_serving.messages import encode
from penstock_serving.metrics import Metrics, VersionMetrics
from penstock_serving.seal import SealedModel
from penstock_serving.skew.monitor import Monitoring, SkewMonitor
from penstock_trainer.errors import InputError

FIRST_VERSION = "1"
"""TensorFlow Serving numbers the versions of a model; what a version is, is said by its digest."""
SAMPLE_TOLERANCE = 1e-5
"""Wider than the 1e-6 of one machine, narrower than any real difference: another CPU rounds its sums otherwise."""
RETIRE_SECONDS = 60.0
"""Longer than any request that was sent to a version takes to reach its model."""

logger = logging.getLogger("penstock_serving")


class ServedModel:
    """Loads in a thread of its own; requests that arrive before that is done wait for it in the queue."""

    def __init__(
        self,
        name: str,
        sealed: SealedModel,
        backend: Backend,
        version: str = FIRST_VERSION,
        metrics: Metrics | None = None,
        monitoring: Monitoring | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        """Nothing is loaded yet. Versions of one server share `metrics`. Without `monitoring`, nothing is observed.

        `deadline_seconds`: see `Batcher`.

        Raises:
            InputError: the artifact's schema cannot be decoded, or its sample rows do not fit it.
        """
        self.name = name
        self.version = version
        self.sealed = sealed
        self.headers = {"x-model-digest": sealed.digest}
        self.decoder = RequestDecoder(sealed.schema)
        self.server_metrics = metrics or Metrics()
        self.metrics = VersionMetrics(self.server_metrics, name, version, sealed.digest)
        self.available = False
        self.skew = SkewMonitor(name, version, sealed, monitoring, self.metrics.judged) if monitoring else None
        """What compares the rows answered with the training rows."""
        if self.skew:
            observer = self.skew.observer
            self.metrics.observe(lambda: observer.observed, lambda: observer.unobserved)
        self._backend, self._deadline_seconds = backend, deadline_seconds
        self._samples = self._sample_rows()
        self._batcher: Batcher | None = None

    @property
    def backend(self) -> str:
        """What answers: `slim` or `tensorflow`."""
        return self._backend.name

    @property
    def stuck(self) -> bool:
        """Whether the model's call has gone on for longer than the deadline, and is not over."""
        return self.available and self.batcher.stuck

    @property
    def settled(self) -> bool:
        """Whether it can answer, and has nothing else to do at first that would be in the way of that."""
        return self.available and (self.skew is None or self.skew.observer.prepared.is_set())

    @property
    def batcher(self) -> Batcher:
        """What answers rows."""
        assert self._batcher is not None, "start comes first"
        return self._batcher

    def start(self, failed: Callable[[Exception], None]) -> None:
        """Begin to load; called in the event loop, where `failed` is called too if the model cannot be loaded."""
        self._batcher = self._make_batcher()
        self.metrics.queue_rows.set_function(lambda: self.batcher.waiting_rows)
        loop = asyncio.get_running_loop()

        def load() -> None:
            started = time.perf_counter()
            try:
                self._backend.load(self.sealed)
                self._compare_samples()
            except Exception as exc:  # noqa: BLE001 (the thread's boundary: `failed` ends the process with it)
                loop.call_soon_threadsafe(failed, exc)
            else:
                loop.call_soon_threadsafe(self._loaded, time.perf_counter() - started)

        threading.Thread(target=load, name="load", daemon=True).start()

    def rehearsal(self) -> "ServedModel":
        """The same loaded model once more, for requests that no client made: they are counted and observed apart."""
        monitoring = Monitoring() if self.skew else None
        made = ServedModel(self.name, self.sealed, self._backend, self.version, monitoring=monitoring)
        made._batcher = made._make_batcher()
        made._batcher.start()
        made.available = True
        return made

    def ask(self, rows: list[Row], size: int, done: Done, due: float | None = None) -> None:
        """`done` gets one prediction a row, of several classes a list of numbers, or an exception; rows that came as
        `size` bytes wait for the model while it loads. `due`: see `Batcher.ask`.

        Raises:
            RequestError: the rows are not taken, see `Batcher.ask`.
        """
        self.batcher.ask(rows, size, done, due)

    def scores(self, predictions: list[Any]) -> list[float]:
        """A number a prediction, for statistics: itself, or of several classes the likeliest's probability."""
        return [max(each) for each in predictions] if self.sealed.schema.classes else predictions

    def stop(self) -> None:
        """End the model's threads; called when no request is in flight any more."""
        if self.available:
            self.batcher.close()
            if self.skew:
                self.skew.close()

    def retire(self) -> None:
        """No request is sent here any more: answer those that were, then let the model go."""
        self.metrics.retire()
        asyncio.get_running_loop().call_later(RETIRE_SECONDS, lambda: threading.Thread(target=self.stop).start())

    def give_up(self) -> None:
        """The model will not be loaded any more: say so to every request that waits for it."""
        if not self.available:
            self.batcher.abandon(UnavailableError("the server stops before its model is loaded", {"retry-after": "5"}))

    def _make_batcher(self) -> Batcher:
        return Batcher(
            self._backend.predict,
            quick_rows=self._backend.quick_rows,
            deadline_seconds=self._deadline_seconds,
            on_batch=self.metrics.batch_rows.observe,
            on_answers=self._answered,
        )

    def _answered(self, columns: Columns, predictions: list[Any], size: int) -> None:
        self.metrics.rows.inc(len(predictions))
        if self.skew:
            self.skew.add(columns, self.scores(predictions), size)

    def _loaded(self, seconds: float) -> None:
        self.available = True
        self.metrics.ready.set(1)
        self.batcher.start()
        if self.skew:
            self.skew.start()
        logger.info("ready", extra={"fields": {"model": self.name, "seconds": round(seconds, 3)}})

    def _sample_rows(self) -> list[Row]:
        try:
            return self.decoder.decode(encode({"instances": self.sealed.samples["instances"]})).rows
        except RequestError as exc:
            raise InputError(f"{self.sealed.directory / 'samples.json'} does not fit schema.json: {exc}") from exc

    def _compare_samples(self) -> None:
        """The trainer's own answers to its sample rows are the first thing that a loaded model must give.

        Raises:
            InputError: it gives others.
        """
        answers = self._backend.predict(Columns(zip(*self._samples, strict=True)))
        for index, (answer, expected) in enumerate(zip(answers, self.sealed.samples["predictions"], strict=True)):
            mine, its = (answer, expected) if isinstance(expected, list) else ([answer], [expected])
            if not all(abs(a - e) <= SAMPLE_TOLERANCE * max(1.0, abs(e)) for a, e in zip(mine, its, strict=True)):
                raise InputError(
                    f"{self.sealed.directory}: sample row {index} gives {answer}, the trainer's answer was {expected}"
                )
