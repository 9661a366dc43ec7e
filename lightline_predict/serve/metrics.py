"""What the server tells of itself, in Prometheus' text format."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64)

disable_created_metrics()  # a second series beside each counter, which nobody asks for


class Metrics:
    """The counters of one server; a registry of its own, so that a process may have two."""

    def __init__(self):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = self._make(Counter, "requests", "Requests that ended, by route and status.", "route", "status")
        self.seconds = self._make(
            Histogram, "request_seconds", "From a request's headers to its answer.", "route", buckets=_SECONDS
        )
        self.batches = self._make(Histogram, "batch_size", "Images in a run of the session.", buckets=_SIZES)
        self.answers = self._make(Counter, "answers", "Images, by answer, and whether accepted.", "class", "accepted")
        self.swaps = self._make(Counter, "model_swaps", "New models, by what came of them.", "outcome")
        self.model = self._make(Gauge, "model_info", "The model that answers.", "fingerprint", "origin")
        self.rows = self._make(Counter, "log_rows", "Rows of the log: written, or dropped.", "outcome")

    def gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Tell a number that is asked for when the metrics are."""
        self._make(Gauge, name, meaning).set_function(value)

    def text(self) -> bytes:
        """Give all of them as text."""
        return generate_latest(self.registry)

    def _make(self, kind, name: str, meaning: str, *labels: str, **more):
        return kind(f"lightline_{name}", meaning, labels, registry=self.registry, **more)
