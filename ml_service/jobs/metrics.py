"""The queues' metrics. They are counted in Redis, so every replica of the service reports the same: take one, or the maximum."""

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from ml_service.jobs.ledger import Ledger, QueueAway, Snapshot
from ml_service.jobs.scripts import WAIT_BUCKETS


class JobMetrics(Collector):
    """What the last `refresh` has found; nothing while Redis is away.

    Args:
        queue: which queue.
        prefix: what the metrics' names begin with.
        noun: what its jobs are called.
    """

    def __init__(self, queue: Ledger[Any], prefix: str = "ml_job", noun: str = "Queued generations") -> None:
        self._queue = queue
        self._prefix = prefix
        self._noun = noun
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
        open_jobs = GaugeMetricFamily(f"{self._prefix}s", f"{self._noun} that are not finished.", labels=["status"])
        open_jobs.add_metric(["queued"], snapshot.queued)
        open_jobs.add_metric([self._queue.names.running], snapshot.running)
        yield open_jobs
        finished = CounterMetricFamily(f"{self._prefix}s_finished", f"{self._noun} by how they ended.", labels=["status"])
        for status, count in snapshot.finished.items():
            finished.add_metric([status], count)
        yield finished
        waits = HistogramMetricFamily(f"{self._prefix}_wait_seconds", "From a job's acceptance to its start.")
        cumulative = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip(WAIT_BUCKETS, snapshot.waits, strict=True):
            cumulative += count
            buckets.append((str(float(bound)), cumulative))
        waits.add_metric([], [*buckets, ("+Inf", snapshot.wait_count)], snapshot.wait_sum)
        yield waits
        yield SummaryMetricFamily(
            f"{self._prefix}_seconds", "From a job's first start to its end.", count_value=snapshot.run_count, sum_value=snapshot.run_sum
        )
