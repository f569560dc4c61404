"""What is counted when Prometheus asks."""

from collections.abc import Iterable
from typing import get_args

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.adapters.service import count_active
from gateway.database import Database
from gateway.training.service import count_by_status
from shared.contracts.training import TrainingStatus
from shared.errors import Unavailable


class TrainingCollector(Collector):
    """Training jobs by status, and adapters in use, of all accounts: every gateway says the same, or nothing while PostgreSQL is away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs: dict[str, int] | None = None
        self._active_adapters = 0

    async def count(self) -> None:
        """Count anew; `collect` tells what came of it."""
        try:
            async with self._database.connection() as db:
                self._jobs = await count_by_status(db)
                self._active_adapters = await count_active(db)
        except Unavailable:
            self._jobs = None

    def collect(self) -> Iterable[Metric]:
        if self._jobs is None:
            return
        jobs = GaugeMetricFamily("gateway_training_jobs", "Training jobs of all accounts", labels=["status"])
        for status in get_args(TrainingStatus):
            jobs.add_metric([status], self._jobs.get(status, 0))
        yield jobs
        yield GaugeMetricFamily("gateway_active_adapters", "Accounts whose drafts are written with an adapter", value=self._active_adapters)


class PoolCollector(Collector):
    """How this process uses its connections to PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterable[Metric]:
        use = self._database.pool_use()
        family = GaugeMetricFamily("gateway_database_connections", "PostgreSQL connections of this process", labels=["state"])
        family.add_metric(["used"], use.used)
        family.add_metric(["idle"], use.idle)
        family.add_metric(["limit"], use.limit)
        yield family
