"""The queue's metrics. They are counted in Redis, so every replica of the service reports the same: take one, or the maximum."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ml_service.jobs.queues import JobQueue, QueueAway, Snapshot
from ml_service.jobs.scripts import WAIT_BUCKETS


class JobMetrics(Collector):
    """What the last `refresh` has found; nothing while Redis is away."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._snapshot: Snapshot | None = None

    async def refresh(self) -> None:
        """Look at the queue; called before each scrape, because a scrape itself cannot wait."""
        try:
            self._snapshot = await self._queue.snapshot()
        except QueueAway:
            self._snapshot = None

    async def waiting(self) -> int:
        """How many jobs wait; 0 while Redis is away."""
        try:
            return await self._queue.depth()
        except QueueAway:
            return 0

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        if snapshot is None:
            return
        open_jobs = GaugeMetricFamily("ml_jobs", "Queued generations that are not finished.", labels=["status"])
        open_jobs.add_metric(["queued"], snapshot.queued)
        open_jobs.add_metric(["generating"], snapshot.generating)
        yield open_jobs
        finished = CounterMetricFamily("ml_jobs_finished", "Queued generations by how they ended.", labels=["status"])
        for status, count in snapshot.finished.items():
            finished.add_metric([status], count)
        yield finished
        waits = HistogramMetricFamily("ml_job_wait_seconds", "From a job's acceptance to its start.")
        cumulative = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip(WAIT_BUCKETS, snapshot.waits, strict=True):
            cumulative += count
            buckets.append((str(float(bound)), cumulative))
        waits.add_metric([], [*buckets, ("+Inf", snapshot.wait_count)], snapshot.wait_sum)
        yield waits
