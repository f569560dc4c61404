"""The metrics of queues and of workers.

A queue's are counted in Redis, so every replica of the service reports the same: take one, or the maximum.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from ml_service.jobs.queue import JobQueue, QueueAway, Totals
from ml_service.settings import Settings
from shared.background import FAILURES

RunEnd = Literal["completed", "failed", "stopped"]
_JOB_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400)


class JobMetrics(Collector):
    """What the last `refresh` has found; nothing while Redis is away. `noun` is what the queue's jobs are called."""

    def __init__(self, queue: JobQueue[Any, Any, Any], prefix: str = "ml_job", noun: str = "Queued generations") -> None:
        self._queue = queue
        self._prefix = prefix
        self._noun = noun
        self._totals: Totals | None = None

    async def refresh(self) -> None:
        """Read the queue; called before each scrape, because a scrape itself cannot wait."""
        try:
            self._totals = await self._queue.totals()
        except QueueAway:
            self._totals = None

    async def waiting(self) -> int:
        """How many jobs wait; 0 while Redis is away."""
        try:
            return await self._queue.depth()
        except QueueAway:
            return 0

    def collect(self) -> Iterator[Metric]:
        totals = self._totals
        if totals is None:
            return
        open_jobs = GaugeMetricFamily(f"{self._prefix}s", f"{self._noun} that are not finished.", labels=["status"])
        open_jobs.add_metric(["queued"], totals.queued)
        open_jobs.add_metric([self._queue.spec.running], totals.running)
        yield open_jobs
        yield GaugeMetricFamily(f"{self._prefix}_next_age_seconds", "Age of the job that begins next; 0: none waits.", totals.next_age)
        finished = CounterMetricFamily(f"{self._prefix}s_finished", f"{self._noun} by how they ended.", labels=["status"])
        for status, count in totals.ended.items():
            finished.add_metric([status], count)
        yield finished
        for name, description, count, seconds in (
            ("wait_seconds", "From a job's acceptance to its first start.", totals.wait_count, totals.wait_sum),
            ("seconds", "From a job's first start to its end.", totals.run_count, totals.run_sum),
        ):
            yield SummaryMetricFamily(f"{self._prefix}_{name}", description, count_value=count, sum_value=seconds)


class WorkerMetrics:
    """What one worker counts of itself.

    A run is stopped when its job was cancelled or went to another worker, or the worker itself stops.
    """

    def __init__(self, queue: str) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(FAILURES)
        ProcessCollector(registry=self._registry)
        self.running = Gauge("ml_worker_jobs_running", "Jobs that this worker works on.", ["queue"], registry=self._registry).labels(queue)
        self._runs = Histogram(
            "ml_worker_run_seconds", "How long this worker worked on jobs, by how its run ended.", ["queue", "end"], buckets=_JOB_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._queue = queue

    def ended(self, end: RunEnd, seconds: float) -> None:
        """Note a run that is over."""
        self._runs.labels(self._queue, end).observe(seconds)

    def serve(self, settings: Settings) -> None:
        """Answer Prometheus from a thread, at `/metrics` of the port that the settings name, if they do.

        Raises:
            OSError: the port is taken.
        """
        if settings.metrics_port:
            start_http_server(settings.metrics_port, addr=settings.host, registry=self._registry)
