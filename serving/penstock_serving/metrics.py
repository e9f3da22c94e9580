"""What Prometheus reads at `/metrics`."""

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

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The server's own counts beside those of its process; a registry of its own, so that two servers never share."""

    def __init__(self, model: str, version: str, digest: str) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        labels = {"model": model, "version": version}
        self._requests = Counter(
            "penstock_requests", "Requests answered, by route and status code.", ["route", "code"], registry=registry
        )
        self.seconds = Histogram(
            "penstock_request_duration_seconds",
            "From a predict request's headers to its answer.",
            labels.keys(),
            buckets=SECONDS,
            registry=registry,
        ).labels(**labels)
        self.rows = Counter("penstock_rows", "Rows answered.", labels.keys(), registry=registry).labels(**labels)
        self.batch_rows = Histogram(
            "penstock_batch_rows", "Rows of one call of the model.", labels.keys(), buckets=ROWS, registry=registry
        ).labels(**labels)
        self.queue_rows = Gauge("penstock_queue_rows", "Rows that wait for the model.", registry=registry)
        self.ready = Gauge("penstock_ready", "1 when the model is loaded.", registry=registry)
        info = Gauge("penstock_model_info", "The model served.", [*labels, "digest"], registry=registry)
        info.labels(**labels, digest=digest).set(1)
        self._by_code: dict[tuple[str, int], Counter] = {}

    def count(self, route: str, code: int) -> None:
        """One request answered."""
        counter = self._by_code.get((route, code))
        if counter is None:
            counter = self._by_code[route, code] = self._requests.labels(route, str(code))
        counter.inc()

    def render(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)
