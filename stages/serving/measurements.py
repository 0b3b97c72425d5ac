"""Measurements of the server for Prometheus."""

import prometheus_client as prometheus
from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
REQUESTS = (1, 2, 4, 8, 16, 32, 64)
"""Limits of the histograms' buckets."""


class Measurements:
    """Measurements of one server, by model."""

    def __init__(self) -> None:
        registry = self._registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        prometheus.PlatformCollector(registry=registry)
        self.requests = Counter("serving_requests", "Requests by HTTP status", ["model", "status"], registry=registry)
        words = "Seconds until the model's answer"
        self.seconds = Histogram("serving_model_seconds", words, ["model"], buckets=SECONDS, registry=registry)
        words = "Requests in the same batch of the model, for each request"
        self.batch = Histogram("serving_batch_requests", words, ["model"], buckets=REQUESTS, registry=registry)
        self.ready = Gauge("serving_model_ready", "1 if the model is ready, otherwise 0", ["model"], registry=registry)

    def text(self) -> bytes:
        """Return all measurements in Prometheus's text format."""
        return prometheus.generate_latest(self._registry)
