"""How a worker that has nothing to do hears of work: here, in this process, with nobody else on the queue, and with processes."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import pytest

from ml_service.jobs import worker
from ml_service.jobs.generation_queue import GenerationQueue
from ml_service.jobs.queue import Job, JobFailed
from ml_service.jobs.worker import JobWorker, worker_redis
from ml_service.settings import Settings
from shared.contracts.generation import GenerateResponse
from shared.contracts.jobs import AsyncGenerateRequest
from tests.fixtures.redis_client import Redis
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.waiting import until
from tests.fixtures.workers import WorkerProcess
from tests.ml_service.jobs.conftest import ask, events, wait_for_ends, wait_for_status

pytestmark = pytest.mark.anyio
StartWorker = Callable[..., WorkerProcess]

WATCHED_SECONDS = 4.0
CALLS_A_SECOND = 20
"""Of a worker that only waits, with what its scripts call. One that asks all the time makes a hundred and more."""


class NotingWorker(JobWorker[AsyncGenerateRequest, GenerateResponse]):
    """Notes the jobs that have begun; each ends when all are let go, or when it is cancelled."""

    def __init__(self, settings: Settings, stop: asyncio.Event) -> None:
        redis = worker_redis(settings.redis_url)
        super().__init__(redis, GenerationQueue(redis, settings), stop, jobs=1)
        self.begun: list[str] = []
        self.go = asyncio.Event()

    async def work(self, job: Job[AsyncGenerateRequest]) -> GenerateResponse:
        self.begun.append(job.job_id)
        await self.go.wait()
        raise JobFailed("Enough")


@asynccontextmanager
async def working(settings: Settings, redis: Redis) -> AsyncIterator[NotingWorker]:
    """A worker that has read its queue, and waits."""
    stop = asyncio.Event()
    noting = NotingWorker(settings, stop)
    redis.config_resetstat()
    task = asyncio.create_task(noting.run())
    try:
        await until(lambda: calls(redis)["zrangebyscore"] == 2)  # it read it at its start, and when it had subscribed
        yield noting
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await task


def subscribers(redis: Redis) -> int:
    return int(redis.pubsub_numsub("jobs:generation:wakeups")[0][1])


def calls(redis: Redis) -> Counter[str]:
    """What Redis has been asked since it was told to forget that, also by scripts."""
    stats = redis.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()})


@pytest.fixture
def long_lease(jobs_settings: Settings) -> Settings:
    """Nobody puts back a job that the queue has lost."""
    return Settings(redis_url=jobs_settings.redis_url, job_lease_seconds=600)


@pytest.fixture
def only_wakeups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that reads its queue only when it is woken."""
    monkeypatch.setattr(worker, "POLL_SECONDS", 3600.0)


@pytest.mark.usefixtures("only_wakeups")
async def test_an_idle_worker_hears_of_a_job(queue: GenerationQueue, long_lease: Settings, jobs_redis: Redis) -> None:
    async with working(long_lease, jobs_redis) as noting:
        job_id = await queue.enqueue(AsyncGenerateRequest(prompt="1"))
        await until(lambda: noting.begun == [job_id])


@pytest.mark.usefixtures("only_wakeups")
async def test_a_place_that_gets_free_is_used_at_once(queue: GenerationQueue, long_lease: Settings, jobs_redis: Redis) -> None:
    async with working(long_lease, jobs_redis) as noting:
        job_ids = [await queue.enqueue(AsyncGenerateRequest(prompt=f"{number}")) for number in range(3)]
        await until(lambda: noting.begun == job_ids[:1])
        noting.go.set()
        await until(lambda: noting.begun == job_ids)


@pytest.mark.usefixtures("only_wakeups")
async def test_a_job_that_is_handed_back_wakes_a_worker(queue: GenerationQueue, long_lease: Settings, jobs_redis: Redis) -> None:
    job_id = await queue.enqueue(AsyncGenerateRequest(prompt="1"))
    elsewhere = await queue.begin(job_id, "another worker's")
    assert elsewhere is not None
    async with working(long_lease, jobs_redis) as noting:
        await queue.hand_back(elsewhere)
        await until(lambda: noting.begun == [job_id])


@pytest.mark.usefixtures("only_wakeups")
async def test_a_broken_subscription_is_made_again(queue: GenerationQueue, long_lease: Settings, jobs_redis: Redis) -> None:
    async with working(long_lease, jobs_redis) as noting:
        jobs_redis.client_kill_filter(_type="pubsub")
        job_ids = [await queue.enqueue(AsyncGenerateRequest(prompt="1"))]  # nobody may have heard of it
        await until(lambda: noting.begun == job_ids)
        await until(lambda: subscribers(jobs_redis) == 1)
        noting.go.set()
        job_ids.append(await queue.enqueue(AsyncGenerateRequest(prompt="2")))
        await until(lambda: noting.begun == job_ids)


async def test_a_lost_notification_costs_no_job(queue: GenerationQueue, long_lease: Settings, jobs_redis: Redis) -> None:
    job_id = await queue.enqueue(AsyncGenerateRequest(prompt="1"))
    ((arq_id, tag),) = jobs_redis.zpopmin("arq:queue:generation")
    async with working(long_lease, jobs_redis) as noting:
        jobs_redis.zadd("arq:queue:generation", {arq_id: tag})
        await until(lambda: noting.begun == [job_id])


@pytest.mark.usefixtures("only_wakeups")
async def test_an_idle_worker_stops_at_once(long_lease: Settings, jobs_redis: Redis) -> None:
    async with working(long_lease, jobs_redis):
        pass  # leaving it waits for the worker's end
    assert jobs_redis.keys() == [b"arq:queue:generation:health-check"]  # for an hour


def test_idle_workers_leave_redis_alone(jobs_redis: Redis, start_worker: StartWorker) -> None:
    for _ in range(2):
        start_worker()
    jobs_redis.config_resetstat()
    time.sleep(WATCHED_SECONDS)
    asked = calls(jobs_redis)
    assert 0 < asked.total() < 2 * WATCHED_SECONDS * CALLS_A_SECOND, asked


def test_two_idle_workers_share_what_comes(
    client: httpx.Client, model: ScriptedMlService, jobs_redis: Redis, start_worker: StartWorker
) -> None:
    workers = [start_worker(worker_jobs="1") for _ in range(2)]
    model.pace(1)
    job_ids = [ask(client, prompt=uuid4().hex) for _ in range(2)]
    for job_id in job_ids:
        wait_for_status(client, job_id, "generating")  # both at once: neither waits for the other's end
    model.pace(0)
    job_ids += [ask(client, prompt=uuid4().hex) for _ in range(20)]
    ends = wait_for_ends(jobs_redis, 22, timeout=60)
    assert Counter(event.job_id for event in ends) == dict.fromkeys(job_ids, 1)
    assert Counter(event.type for event in events(jobs_redis)) == {"generating": 22, "completed": 22}
    assert sum(worker.log().count("job run") for worker in workers) == 22
