"""What tests of jobs may ask for: a Valkey that they may hurt, a queue on it, workers, and a look at the event stream."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import msgspec
import pytest
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ResponseError

from ml_service.jobs.generation_queue import GenerationQueue
from ml_service.jobs.queue import connection_pool
from ml_service.settings import Settings
from shared.contracts.jobs import JobState
from shared.redis_events import EVENT_FIELD, JOB_EVENTS, JobEvent
from tests.fixtures.redis_client import Redis
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.servers import Server, running_valkey
from tests.fixtures.waiting import PATIENCE_SECONDS
from tests.fixtures.workers import WorkerProcess

LEASE_SECONDS = 1.0


@pytest.fixture(scope="package")
def jobs_server(run_folder: Path) -> Iterator[Server]:
    """A Valkey that only tests of jobs use: they empty, kill and start it."""
    folder = run_folder / "jobs"
    folder.mkdir()
    with running_valkey(folder) as server:
        yield server


@pytest.fixture
def jobs_redis(jobs_server: Server) -> Iterator[Redis]:
    """An empty Redis."""
    with Redis.from_url(jobs_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def jobs_settings(jobs_server: Server) -> Settings:
    return Settings(redis_url=jobs_server.url, job_lease_seconds=LEASE_SECONDS)


@pytest.fixture
async def jobs_client(jobs_settings: Settings, jobs_redis: Redis) -> AsyncIterator[AsyncRedis]:
    """The same empty Redis for coroutines."""
    client = AsyncRedis(connection_pool=connection_pool(jobs_settings.redis_url, 5))
    yield client
    await client.aclose(close_connection_pool=True)


@pytest.fixture
async def queue(jobs_settings: Settings, jobs_client: AsyncRedis) -> GenerationQueue:
    """An empty queue."""
    return GenerationQueue(jobs_client, jobs_settings)


@pytest.fixture(scope="package")
def jobs_model(run_folder: Path, jobs_server: Server) -> Iterator[ScriptedMlService]:
    service = ScriptedMlService(run_folder, jobs_server.url)
    service.start()
    yield service
    service.stop()


@pytest.fixture
def model(jobs_model: ScriptedMlService, jobs_redis: Redis) -> Iterator[ScriptedMlService]:
    """An ML service whose engine answers at once."""
    yield jobs_model
    jobs_model.pace(0)


@pytest.fixture
def start_worker(run_folder: Path, jobs_server: Server, model: ScriptedMlService) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts workers, given further settings, and stops them in the end."""
    workers: list[WorkerProcess] = []

    def start(**settings: str) -> WorkerProcess:
        all_settings = {"ml_service_url": model.url, "job_lease_seconds": str(LEASE_SECONDS), **settings}
        worker = WorkerProcess(run_folder, redis_url=jobs_server.url, **all_settings)
        workers.append(worker)
        worker.start()
        return worker

    yield start
    for worker in workers:
        worker.stop()


@pytest.fixture
def client(model: ScriptedMlService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=model.url, timeout=PATIENCE_SECONDS) as client:
        yield client


def ask(client: httpx.Client, **fields: object) -> str:
    """Have a job accepted; its id."""
    answer = client.post("/generate/async", json={"prompt": "Them: Hello\nMe:", **fields})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def state(client: httpx.Client, job_id: str) -> JobState:
    return msgspec.json.decode(client.get(f"/generate/status/{job_id}").raise_for_status().content, type=JobState)


def wait_for_status(client: httpx.Client, job_id: str, *statuses: str, timeout: float = PATIENCE_SECONDS) -> JobState:
    deadline = time.monotonic() + timeout
    while (found := state(client, job_id)).status not in statuses:
        assert time.monotonic() < deadline, f"{found.status} after {timeout} s"
        time.sleep(0.01)
    return found


def events(redis: Redis, job_id: str | None = None) -> list[JobEvent]:
    """What is on the stream, of one job or of all."""
    published = [msgspec.json.decode(fields[EVENT_FIELD.encode()], type=JobEvent) for _, fields in redis.xrange(JOB_EVENTS)]
    return [event for event in published if job_id is None or event.job_id == job_id]


def wait_for_disk(redis: Redis) -> None:
    """Until all that has been written is in the append-only file: what is younger may be lost when the server is killed."""
    with redis.client() as connection:
        connection.set("written", 1)  # it is this connection's writes that are waited for, and with them all earlier ones
        with suppress(ResponseError):  # a Redis before 7.2 does not know it
            assert connection.execute_command("WAITAOF", 1, 0, 60_000) == [1, 0]


def wait_for_ends(redis: Redis, count: int, timeout: float = PATIENCE_SECONDS) -> list[JobEvent]:
    """The events of jobs that have ended, once there are so many; whether more come is the test's to see."""
    deadline = time.monotonic() + timeout
    while len(ends := [event for event in events(redis) if event.type in ("completed", "failed", "cancelled")]) < count:
        assert time.monotonic() < deadline, f"{len(ends)} of {count} jobs have ended after {timeout} s"
        time.sleep(0.05)
    return ends
