"""The queues' metrics. They are counted in Redis, so every replica of the service reports the same: take one, or the maximum."""

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from ml_service.jobs.queue import JobQueue, QueueAway, Totals


class JobMetrics(Collector):
    """What the last `refresh` has found; nothing while Redis is away.

    Args:
        queue: which queue.
        prefix: what the metrics' names begin with.
        noun: what its jobs are called.
    """

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
        finished = CounterMetricFamily(f"{self._prefix}s_finished", f"{self._noun} by how they ended.", labels=["status"])
        for status, count in totals.ended.items():
            finished.add_metric([status], count)
        yield finished
        for name, description, count, seconds in (
            ("wait_seconds", "From a job's acceptance to its first start.", totals.wait_count, totals.wait_sum),
            ("seconds", "From a job's first start to its end.", totals.run_count, totals.run_sum),
        ):
            yield SummaryMetricFamily(f"{self._prefix}_{name}", description, count_value=count, sum_value=seconds)
