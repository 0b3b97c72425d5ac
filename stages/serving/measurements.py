"""Measurements of the server for Prometheus."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class Measurements:
    """Measurements of one server, by model."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter("serving_requests", "Requests by HTTP status", ["model", "status"], registry=registry)
        self.seconds = Histogram(
            "serving_model_seconds", "Seconds until the model's answer", ["model"], buckets=SECONDS, registry=registry
        )
        self.batch = Histogram(
            "serving_batch_requests",
            "Requests in the same batch of the model, for each request",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.ready = Gauge("serving_model_ready", "1 if the model is ready, otherwise 0", ["model"], registry=registry)

    def text(self) -> bytes:
        """Return all measurements in Prometheus's text format."""
        return generate_latest(self._registry)
