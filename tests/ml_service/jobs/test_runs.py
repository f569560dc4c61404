"""How a worker ends, in this process."""

import asyncio
from typing import Any

import pytest
from arq.connections import ArqRedis
from redis import Redis

from ml_service.jobs.leases import Leases
from ml_service.jobs.ledger import connection_pool
from ml_service.jobs.queues import Job, JobQueue
from ml_service.jobs.runs import Runs, work_on
from ml_service.settings import Settings
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


class NoRuns(Runs[Job]):
    async def _work(self, job: Job) -> None:
        raise AssertionError("there are no jobs")


class Watched(ArqRedis):
    """Notes who may still be using its connections when they are closed."""

    async def close(self, *args: Any, **kwargs: Any) -> None:
        self.users = {task.get_name() for task in asyncio.all_tasks()}
        await super().aclose(*args, **kwargs)


async def test_nothing_in_the_background_meets_a_closed_connection(jobs_settings: Settings, jobs_redis: Redis) -> None:
    redis = Watched(pool_or_conn=connection_pool(jobs_settings.redis_url, 5))
    queue, stop = JobQueue(redis, jobs_settings), asyncio.Event()
    leases = Leases(queue, jobs_settings.job_lease_seconds)
    working = asyncio.create_task(work_on(redis, NoRuns(queue, leases, stop), leases, stop, jobs=1))
    await until(lambda: any(key.endswith(b":health-check") for key in jobs_redis.scan_iter()))  # that of arq
    assert {"leases", "wakeups"} <= {task.get_name() for task in asyncio.all_tasks()}

    stop.set()
    await working

    assert not {"leases", "wakeups"} & redis.users
    assert jobs_redis.dbsize() == 0
