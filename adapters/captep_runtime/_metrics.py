"""Metrics under controller-runtime's names and labels, so that its dashboards work unchanged."""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["CATALOG", "NO_METRICS", "InMemoryMetrics", "Metric", "Metrics", "PrometheusMetrics"]

Labels: TypeAlias = Mapping[str, str]
# Seconds, the buckets of controller-runtime, so that its dashboards fit.
# fmt: off
_RECONCILE_BUCKETS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0,
    25.0, 30.0, 40.0, 50.0, 60.0,
)
# fmt: on
_QUEUE_BUCKETS: Final = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)


@frozen
class Metric:
    """One metric; `buckets` are the upper bounds of a histogram, in seconds."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


_CONTROLLER: Final = ("controller",)
_QUEUE: Final = ("name", "controller")
CATALOG: Final[Mapping[str, Metric]] = {
    "controller_runtime_reconcile_total": Metric(
        "counter", "Passes by result", ("controller", "result")
    ),
    "controller_runtime_reconcile_errors_total": Metric(
        "counter", "Passes that raised", _CONTROLLER
    ),
    "controller_runtime_terminal_reconcile_errors_total": Metric(
        "counter", "Passes that raised and are not retried", _CONTROLLER
    ),
    "controller_runtime_reconcile_panics_total": Metric(
        "counter", "Passes that raised an exception other than captep's own", _CONTROLLER
    ),
    "controller_runtime_reconcile_timeouts_total": Metric(
        "counter", "Passes that took too long", _CONTROLLER
    ),
    "controller_runtime_reconcile_time_seconds": Metric(
        "histogram", "Seconds of a pass", _CONTROLLER, _RECONCILE_BUCKETS
    ),
    "controller_runtime_max_concurrent_reconciles": Metric(
        "gauge", "Number of workers", _CONTROLLER
    ),
    "controller_runtime_active_workers": Metric(
        "gauge", "Workers that are running a pass", _CONTROLLER
    ),
    "workqueue_depth": Metric("gauge", "Keys that are due and wait for a worker", _QUEUE),
    "workqueue_adds_total": Metric("counter", "Wake-ups", _QUEUE),
    "workqueue_queue_duration_seconds": Metric(
        "histogram", "Seconds from the deadline of a key to its pass", _QUEUE, _QUEUE_BUCKETS
    ),
    "workqueue_work_duration_seconds": Metric(
        "histogram", "Seconds of a pass", _QUEUE, _QUEUE_BUCKETS
    ),
    "workqueue_unfinished_work_seconds": Metric(
        "gauge", "Seconds of all passes that are under way", _QUEUE
    ),
    "workqueue_longest_running_processor_seconds": Metric(
        "gauge", "Seconds of the longest pass that is under way", _QUEUE
    ),
    "workqueue_retries_total": Metric(
        "counter", "Passes that the loop retries after a backoff", _QUEUE
    ),
    "rest_client_requests_total": Metric(
        "counter", "HTTP requests by status, method and host", ("code", "method", "host")
    ),
    "leader_election_master_status": Metric("gauge", "1 while this process leads", ("name",)),
    "captep_shard_info": Metric(
        "gauge", "1 in a process of this shard, of so many", ("shard", "shards")
    ),
    "captep_watch_healthy": Metric("gauge", "1 while all watches of a kind are current", ("kind",)),
    "captep_writes_total": Metric(
        "counter", "Writes by verb and HTTP status", ("controller", "verb", "code")
    ),
    "captep_effective_writes_total": Metric(
        "counter", "Writes that changed something in the server", _CONTROLLER
    ),
}


class Metrics(Protocol):
    """A receiver of measurements with the names and labels of `CATALOG`; durations are seconds."""

    def count(self, name: str, labels: Labels, amount: float = 1) -> None:
        """Add to a counter."""
        ...

    def set(self, name: str, labels: Labels, value: float) -> None:
        """Set a gauge."""
        ...

    def observe(self, name: str, labels: Labels, value: float) -> None:
        """Put a value into a histogram."""
        ...


class _NoMetrics:
    def count(self, name: str, labels: Labels, amount: float = 1) -> None:
        """Drop it."""

    def set(self, name: str, labels: Labels, value: float) -> None:
        """Drop it."""

    def observe(self, name: str, labels: Labels, value: float) -> None:
        """Drop it."""


NO_METRICS: Metrics = _NoMetrics()


class InMemoryMetrics:
    """Keeps all measurements, for tests and demos; a histogram is the tuple of its values."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self._values: dict[tuple[str, frozenset[tuple[str, str]]], tuple[float, ...]] = {}

    def count(self, name: str, labels: Labels, amount: float = 1) -> None:
        """Add to a counter."""
        with self._lock:
            key = _series(name, labels)
            self._numbers[key] = self._numbers.get(key, 0) + amount

    def set(self, name: str, labels: Labels, value: float) -> None:
        """Set a gauge."""
        with self._lock:
            self._numbers[_series(name, labels)] = value

    def observe(self, name: str, labels: Labels, value: float) -> None:
        """Keep a value of a histogram."""
        with self._lock:
            key = _series(name, labels)
            self._values[key] = (*self._values.get(key, ()), value)

    def value(self, name: str, labels: Labels) -> float:
        """Return a counter or a gauge, 0 before its first measurement."""
        return self._numbers.get(_series(name, labels), 0)

    def values(self, name: str, labels: Labels) -> tuple[float, ...]:
        """Return the values of a histogram, in order."""
        return self._values.get(_series(name, labels), ())


def _series(name: str, labels: Labels) -> tuple[str, frozenset[tuple[str, str]]]:
    """Name a series.

    Raises:
        ValueError: the catalog has other labels for it.
        KeyError: the catalog has no such metric.
    """
    if set(labels) != set(CATALOG[name].labels):
        raise ValueError(
            f"{name} has the labels {', '.join(CATALOG[name].labels)}, not {', '.join(labels)}"
        )
    return name, frozenset(labels.items())


class PrometheusMetrics:
    """Puts everything into a registry of prometheus_client, which needs the extra `metrics`."""

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        """Register the whole catalog; without `registry`, in a registry of its own.

        Raises:
            ImportError: prometheus_client is not installed.
        """
        import prometheus_client as prometheus  # noqa: PLC0415 - an extra, and slow to import

        # The *_created gauges double the number of series, and no dashboard of controller-runtime
        # knows them.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call] # not annotated there
        self._expose = prometheus.generate_latest
        self.registry = registry if registry is not None else prometheus.CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        # By labels as they were given: the library checks and joins them at each count, which
        # takes longer than the count.
        self._counters_of: dict[tuple[str | tuple[str, str], ...], Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for name, metric in CATALOG.items():
            match metric.kind:
                case "counter":
                    self._counters[name] = prometheus.Counter(
                        name, metric.help, metric.labels, registry=self.registry
                    )
                case "gauge":
                    self._gauges[name] = prometheus.Gauge(
                        name, metric.help, metric.labels, registry=self.registry
                    )
                case "histogram":
                    made = prometheus.Histogram(
                        name,
                        metric.help,
                        metric.labels,
                        registry=self.registry,
                        buckets=metric.buckets,
                    )
                    self._histograms[name] = made

    def count(self, name: str, labels: Labels, amount: float = 1) -> None:
        """Add to a counter."""
        counter = self._counters_of.get((name, *labels.items()))
        if counter is None:
            counter = self._counters[name].labels(**labels)
            self._counters_of[name, *labels.items()] = counter
        counter.inc(amount)

    def set(self, name: str, labels: Labels, value: float) -> None:
        """Set a gauge."""
        self._gauges[name].labels(**labels).set(value)

    def observe(self, name: str, labels: Labels, value: float) -> None:
        """Put a value into a histogram."""
        self._histograms[name].labels(**labels).observe(value)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return self._expose(self.registry)
