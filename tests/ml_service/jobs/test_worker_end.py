"""How a worker ends, and how it shows that it goes on, in this process."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis

from ml_service.jobs.generation_queue import GenerationQueue
from ml_service.jobs.queue import Job, connection_pool
from ml_service.jobs.worker import JobWorker
from ml_service.settings import Settings
from shared.contracts.generation import GenerateResponse
from shared.contracts.jobs import AsyncGenerateRequest
from tests.fixtures.redis_client import Redis
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


class IdleWorker(JobWorker[AsyncGenerateRequest, GenerateResponse]):
    async def work(self, job: Job[AsyncGenerateRequest]) -> GenerateResponse:
        raise AssertionError("there are no jobs")


class Watched(ArqRedis):
    """Notes who may still be using its connections when they are closed."""

    async def aclose(self, close_connection_pool: Any = None) -> None:
        self.users = {task.get_name() for task in asyncio.all_tasks()}
        await super().aclose(close_connection_pool)


async def test_nothing_in_the_background_meets_a_closed_connection(jobs_settings: Settings, jobs_redis: Redis) -> None:
    redis, stop = Watched(pool_or_conn=connection_pool(jobs_settings.redis_url, 5)), asyncio.Event()
    working = asyncio.create_task(IdleWorker(redis, GenerationQueue(redis, jobs_settings), stop, jobs=1).run())
    await until(lambda: any(key.endswith(b":health-check") for key in jobs_redis.scan_iter()))  # that of arq
    assert {"leases", "wakeups"} <= {task.get_name() for task in asyncio.all_tasks()}

    stop.set()
    await working

    assert not {"leases", "wakeups"} & redis.users
    assert jobs_redis.dbsize() == 1  # arq's sign of life, for an hour


async def test_a_worker_without_jobs_touches_its_heartbeat_again_and_again(
    jobs_settings: Settings, jobs_redis: Redis, tmp_path: Path
) -> None:
    redis, stop, heartbeat = ArqRedis(pool_or_conn=connection_pool(jobs_settings.redis_url, 5)), asyncio.Event(), tmp_path / "heartbeat"
    worker = IdleWorker(redis, GenerationQueue(redis, jobs_settings), stop, jobs=1, heartbeat=str(heartbeat))
    working = asyncio.create_task(worker.run())
    await until(heartbeat.exists)

    os.utime(heartbeat, (0, 0))
    await until(lambda: heartbeat.stat().st_mtime > 0)

    stop.set()
    await working
