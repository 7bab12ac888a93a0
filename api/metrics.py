"""Prometheus metrics: requests by route template, and how much is waiting. Names follow https://prometheus.io/docs/practices/naming/."""

from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from recalld.jobs.model import JobState

UNFINISHED: tuple[JobState, ...] = ("queued", "running", "failed")
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """One application's metrics.

    Args:
        waiting: tells how many outbox entries there are.
        jobs: tells how many jobs are in each state, over all namespaces.
    """

    def __init__(self, waiting: Callable[[], int], jobs: Callable[[], Mapping[JobState, int]]) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route")
        self._requests = Counter(
            "recalld_requests_total", "Requests answered", (*labels, "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "recalld_request_seconds", "Time to answer", labels, buckets=BUCKETS_S, registry=self._registry
        )
        gauge = Gauge("recalld_outbox_entries", "Rows waiting to be encoded", registry=self._registry)
        gauge.set_function(waiting)
        queue = Gauge("recalld_jobs", "Jobs by state; failed: the dead letter", ("state",), registry=self._registry)
        for state in UNFINISHED:
            queue.labels(state).set_function(partial(_count, jobs, state))

    def request(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(took_s)

    def render(self) -> bytes:
        """The text format."""
        return generate_latest(self._registry)


def _count(jobs: Callable[[], Mapping[JobState, int]], state: JobState) -> float:
    return jobs().get(state, 0)
