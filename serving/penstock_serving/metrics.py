"""What Prometheus reads at `/metrics`."""

import json
import threading
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate, chain

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock_serving.totals import Snapshot

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
LABELS = ("model", "version")
SUMMED = (
    *("penstock_requests_in_flight", "penstock_queue_rows", "penstock_observed_rows", "penstock_unobserved_rows"),
    *("process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds"),
)
"""Gauges that add up over processes; of any other the largest counts."""


class Durations:
    """A histogram of SECONDS; counting costs a tenth of what the library's costs, which has a lock a bucket."""

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one; called in one thread."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds


class Requests(Collector):
    """What is counted of every request; Prometheus reads it when it asks."""

    def __init__(self) -> None:
        self.by_code: Counts[tuple[str, int]] = Counts()
        self.seconds: dict[tuple[str, str], Durations] = {}

    def collect(self) -> Iterator[Metric]:
        """The metrics, as they are now."""
        requests = CounterMetricFamily(
            "penstock_requests", "Requests answered, by route and status code.", labels=["route", "code"]
        )
        for (route, code), count in self.by_code.copy().items():
            requests.add_metric([route, str(code)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "penstock_request_duration_seconds", "From a predict request's headers to its answer.", labels=LABELS
        )
        for labels, durations in self.seconds.items():
            bounds = [*map(str, map(float, SECONDS)), "+Inf"]
            seconds.add_metric(labels, list(zip(bounds, accumulate(durations.counts), strict=True)), durations.sum)
        yield seconds


class Metrics(Collector):
    """The server's own counts beside those of its process; a registry of its own, so that two servers never share."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._verdicts = verdicts = CollectorRegistry()
        """Of what changes once a window, and is most of all."""
        self.judged = False
        """Whether it has changed since the last snapshot."""
        self._excess: dict[str, float] = {}
        self._keys: dict[tuple[str, ...], str] = {}
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Requests()
        registry.register(self.requests)
        self.in_flight = Gauge(
            "penstock_requests_in_flight", "Predict requests that are not answered yet.", registry=registry
        )
        self.rows = Counter("penstock_rows", "Rows answered.", LABELS, registry=registry)
        self.batch_rows = Histogram(
            "penstock_batch_rows", "Rows of one call of the model.", LABELS, buckets=ROWS, registry=registry
        )
        self.queue_rows = Gauge("penstock_queue_rows", "Rows that wait for the model.", LABELS, registry=registry)
        self.ready = Gauge("penstock_ready", "1 when the model is loaded.", LABELS, registry=registry)
        self.weight = Gauge("penstock_traffic_weight", "Share of requests it answers.", LABELS, registry=registry)
        self.info = Gauge("penstock_model_info", "The model served.", [*LABELS, "digest"], registry=registry)
        self.skew = Gauge(
            "penstock_skew_excess",
            "How far a column of the last windows is from training, as a multiple of the threshold for skew.",
            [*LABELS, "column", "measure"],
            registry=verdicts,
        )
        self.skewed = Gauge("penstock_skewed", "1 while a column is skewed.", [*LABELS, "column"], registry=verdicts)
        self.observed = Gauge("penstock_observed_rows", "Rows observed for skew so far.", LABELS, registry=registry)
        self.unobserved = Gauge(
            "penstock_unobserved_rows", "Rows let go, as too many waited to be observed.", LABELS, registry=registry
        )

    def count(self, route: str, code: int) -> None:
        """One request answered."""
        self.requests.by_code[route, code] += 1

    def collect(self) -> Iterator[Metric]:
        """Everything as it is now."""
        return chain(self._registry.collect(), self._verdicts.collect())

    def snapshot(self) -> Snapshot:
        """Everything as it is now, by what becomes of it when several processes are told as one.

        Twice a second, beside the requests: what has not changed is not made again.
        """
        if self.judged:
            self.judged = False
            self._excess = self._values(self._verdicts)["largest"]
        found = self._values(self._registry)
        found["largest"].update(self._excess)
        return found

    def _values(self, registry: CollectorRegistry) -> Snapshot:
        found: Snapshot = {"counts": {}, "sums": {}, "largest": {}}
        for family in registry.collect():
            kind = "sums" if family.name in SUMMED else "largest" if family.type in ("gauge", "info") else "counts"
            for sample in family.samples:
                if not sample.name.endswith("_created"):  # when the first process began is no count
                    which = (family.name, sample.name, *sample.labels.values())
                    key = self._keys.get(which)
                    if key is None:
                        key = self._keys[which] = json.dumps([family.name, sample.name, sample.labels])
                    found[kind][key] = sample.value
        return found

    def render(self, totals: Snapshot | None = None) -> bytes:
        """Everything in Prometheus' text format; of `totals`, where these are given, instead of this process alone."""
        return generate_latest(self if totals is None else _Told(self, totals))


class _Told(Collector):
    """What a collector describes, with the values of a snapshot."""

    def __init__(self, described: Collector, totals: Snapshot) -> None:
        self._described, self._totals = described, totals

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        told: dict[str, list[tuple[str, dict[str, str], float]]] = {}
        for values in self._totals.values():
            for key, value in values.items():
                family, name, labels = json.loads(key)
                told.setdefault(family, []).append((name, labels, value))
        for described in self._described.collect():
            metric = Metric(described.name, described.documentation, described.type)
            for sample in told.get(described.name, []):
                metric.add_sample(*sample)
            yield metric


class VersionMetrics:
    """The counts of one version of the model."""

    def __init__(self, metrics: Metrics, model: str, version: str, digest: str) -> None:
        self._metrics, self._labels, self._digest = metrics, (model, version), digest
        self._measured: set[tuple[str, ...]] = set()
        self._skewed: set[tuple[str, ...]] = set()
        self._retired = False
        self._judging = threading.Lock()
        self.seconds = metrics.requests.seconds.setdefault(self._labels, Durations())
        self.rows = metrics.rows.labels(*self._labels)
        self.batch_rows = metrics.batch_rows.labels(*self._labels)
        self.queue_rows = metrics.queue_rows.labels(*self._labels)
        self.ready = metrics.ready.labels(*self._labels)
        self.weight = metrics.weight.labels(*self._labels)
        metrics.info.labels(*self._labels, digest).set(1)

    def observe(self, observed: Callable[[], float], unobserved: Callable[[], float]) -> None:
        """Show these counts of rows from now on."""
        self._metrics.observed.labels(*self._labels).set_function(observed)
        self._metrics.unobserved.labels(*self._labels).set_function(unobserved)

    def judged(self, excess: Mapping[str, Mapping[str, float]], skewed: Mapping[str, bool]) -> None:
        """What the last windows say: by column and measure, and by column. Of a version that is retired, nothing."""
        found = {(column, measure): value for column, each in excess.items() for measure, value in each.items()}
        states = {(column,): float(state) for column, state in skewed.items()}
        with self._judging:
            if self._retired:
                return
            for gauge, values, shown in (
                (self._metrics.skew, found, self._measured),
                (self._metrics.skewed, states, self._skewed),
            ):
                for labels in shown - values.keys():  # what is not measured any more is over
                    gauge.labels(*self._labels, *labels).set(0)
                for labels, value in values.items():
                    gauge.labels(*self._labels, *labels).set(value)
                shown.update(values)
            self._metrics.judged = True

    def retire(self) -> None:
        """The version is no longer here: its gauges go, its counts stay."""
        with self._judging:  # a window that is judged in another thread would bring them back
            self._retired = True
        for gauge in (self._metrics.queue_rows, self._metrics.ready, self._metrics.weight):
            gauge.remove(*self._labels)
        self._metrics.info.remove(*self._labels, self._digest)
        for gauge in (self._metrics.skew, self._metrics.skewed, self._metrics.observed, self._metrics.unobserved):
            gauge.remove_by_labels(dict(zip(LABELS, self._labels, strict=True)))
        self._metrics.judged = True
