"""The queue of generations beside arq: how soon a job starts, how fast the queue drains, how soon a dead worker's job goes on."""

import asyncio
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from arq.connections import ArqRedis
from redis.asyncio import Redis

from deploy.local.processes import ChildProcess
from deploy.local.servers import EmbeddedValkey
from ml_service.jobs.generation_queue import GenerationQueue
from ml_service.settings import Settings
from shared.contracts.jobs import AsyncGenerateRequest
from shared.redis_events import JOB_EVENTS
from tests.benchmarks.instant_stream import SLOW
from tests.benchmarks.measure import Goal, Measurement
from tests.benchmarks.stock_arq import STARTED
from tests.fixtures.ports import free_port
from tests.fixtures.workers import WorkerProcess

JOBS_ALONE = 300
JOBS_ALONE_SLOW = 20
WARM_UP = 10
JOBS_TOGETHER = 2000
ARQ_POLL_SECONDS = 0.5
"""arq's own default."""
FAST_POLL_SECONDS = 0.01
"""What arq has to poll with for its jobs to begin about as soon as ours, of which the worker is told."""

Enqueue = Callable[[str], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Delays:
    """Milliseconds from asking to having heard of the start, over one round."""

    p50: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class QueueSystem:
    """What runs: a Valkey and an ML service that answers at once."""

    folder: Path
    redis_url: str
    ml_url: str

    def our_worker(self) -> WorkerProcess:
        return WorkerProcess(self.folder, redis_url=self.redis_url, ml_service_url=self.ml_url)

    def arq_worker(self, poll_seconds: float) -> ChildProcess:
        command = [sys.executable, "-m", "tests.benchmarks.stock_arq", self.redis_url, str(poll_seconds)]
        return ChildProcess("arq", command, log_path=self.folder / "stock-arq.log")


def measure(folder: Path, rounds: int) -> list[Measurement]:
    """All of it: half a minute a round, and two leases of waiting for a dead worker."""
    with ExitStack() as stack:
        system = _start(stack, folder)
        return asyncio.run(_measure(system, rounds))


def _start(stack: ExitStack, folder: Path) -> QueueSystem:
    folder = folder / "queue"
    folder.mkdir()
    valkey = EmbeddedValkey(folder / "valkey", folder / "valkey.log")
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.benchmarks.instant_stream:app", "--port", str(port), "--log-level", "warning"]
    ml_service = ChildProcess("instant ML service", command, log_path=folder / "instant.log")
    for process in (valkey, ml_service):
        stack.callback(process.stop)
        process.start()
    url = f"http://127.0.0.1:{port}"
    ml_service.wait_until(lambda: _answers(url), timeout=30)
    return QueueSystem(folder=folder, redis_url=valkey.url, ml_url=url)


def _answers(url: str) -> bool:
    try:
        return httpx.post(url, timeout=1).status_code == 200
    except httpx.HTTPError:
        return False


async def _measure(system: QueueSystem, rounds: int) -> list[Measurement]:
    ours: list[Delays] = []
    fast_poll: list[Delays] = []
    as_it_comes: list[Delays] = []
    our_rate: list[float] = []
    arq_rate: list[float] = []
    async with _our_queue(system) as enqueue, _arq_queue(system) as enqueue_arq:
        redis = Redis.from_url(system.redis_url)
        for _ in range(rounds):
            with _running(system.our_worker()):
                ours.append(await _delays(redis, enqueue, JOB_EVENTS, 2, FAST_POLL_SECONDS, JOBS_ALONE))
            with _running(system.arq_worker(FAST_POLL_SECONDS)):
                fast_poll.append(await _delays(redis, enqueue_arq, STARTED, 1, FAST_POLL_SECONDS, JOBS_ALONE))
            with _running(system.arq_worker(ARQ_POLL_SECONDS)):
                as_it_comes.append(await _delays(redis, enqueue_arq, STARTED, 1, ARQ_POLL_SECONDS, JOBS_ALONE_SLOW))
            our_rate.append(await _drain(redis, enqueue, JOB_EVENTS, 2, system.our_worker()))
            arq_rate.append(await _drain(redis, enqueue_arq, STARTED, 1, system.arq_worker(FAST_POLL_SECONDS)))
        redelivery = await _redelivery(redis, enqueue, system)
        await redis.aclose()
    fast = f"arq alone, polling every {FAST_POLL_SECONDS * 1000:.0f} ms"
    return [
        Measurement(
            what="queued job, enqueue to start heard, p50", unit="ms", ours=[each.p50 for each in ours],
            against=fast, theirs=[each.p50 for each in fast_poll], goal=Goal(rule="at most", value=50),
        ),
        Measurement(
            what="queued job, enqueue to start heard, p99", unit="ms", ours=[each.p99 for each in ours],
            against=fast, theirs=[each.p99 for each in fast_poll], goal=Goal(rule="at most", value=50),
        ),
        Measurement(
            what="queued job, enqueue to start heard, p50", unit="ms", ours=[each.p50 for each in ours],
            against="arq as it comes", theirs=[each.p50 for each in as_it_comes],
        ),
        Measurement(
            what="queue drained by one worker, instant model", unit="jobs/s", ours=our_rate,
            against=f"{fast}, empty jobs", theirs=arq_rate,
        ),
        Measurement(
            what="a killed worker's job goes on (the lease sets it)", unit="s", ours=[redelivery], goal=Goal(rule="at most", value=30),
        ),
    ]  # fmt: skip


@asynccontextmanager
async def _our_queue(system: QueueSystem) -> AsyncIterator[Enqueue]:
    redis = Redis.from_url(system.redis_url)
    queue = GenerationQueue(redis, Settings(max_queued_jobs_per_scope=JOBS_TOGETHER))

    async def enqueue(prompt: str) -> object:
        return await queue.enqueue(AsyncGenerateRequest(prompt=prompt))

    yield enqueue
    await redis.aclose()


@asynccontextmanager
async def _arq_queue(system: QueueSystem) -> AsyncIterator[Enqueue]:
    arq = ArqRedis.from_url(system.redis_url)
    yield lambda _prompt: arq.enqueue_job("tell")
    await arq.aclose()


@contextmanager
def _running(worker: WorkerProcess | ChildProcess) -> Iterator[None]:
    worker.start()
    try:
        yield
    finally:
        worker.stop()


async def _delays(redis: Redis, enqueue: Enqueue, stream: str, entries: int, poll_seconds: float, jobs: int) -> Delays:
    """Jobs one at a time, each with so many `entries` in the stream, at moments that have nothing to do with the worker's polling."""
    chance = random.Random(1)
    milliseconds: list[float] = []
    await redis.delete(stream)
    for number in range(jobs + WARM_UP):
        begin = time.perf_counter()
        await enqueue(f"{number}")
        await redis.xread({stream: "0"}, block=30_000)
        milliseconds.append((time.perf_counter() - begin) * 1000)
        while await redis.xlen(stream) < entries:
            await asyncio.sleep(0.001)
        await redis.delete(stream)
        await asyncio.sleep(chance.uniform(0, poll_seconds))
    del milliseconds[:WARM_UP]  # the worker was still starting
    return Delays(p50=statistics.median(milliseconds), p99=statistics.quantiles(milliseconds, n=100)[98])


async def _drain(redis: Redis, enqueue: Enqueue, stream: str, entries: int, worker: WorkerProcess | ChildProcess) -> float:
    """Jobs a second, from the first event to the last of a full queue; each job gives so many `entries`."""
    await redis.delete(stream)
    for number in range(JOBS_TOGETHER):
        await enqueue(f"{number}")
    with _running(worker):
        while await redis.xlen(stream) < JOBS_TOGETHER * entries:
            await asyncio.sleep(0.05)
    first, last = [
        int(entry[0][0].split(b"-")[0]) for entry in (await redis.xrange(stream, count=1), await redis.xrevrange(stream, count=1))
    ]
    return JOBS_TOGETHER / ((last - first) / 1000)


async def _redelivery(redis: Redis, enqueue: Enqueue, system: QueueSystem) -> float:
    """Seconds from `kill -9` of a worker until another has begun its job."""
    await redis.delete(JOB_EVENTS)
    first, second = system.our_worker(), system.our_worker()
    first.start()
    await enqueue(SLOW)
    await redis.xread({JOB_EVENTS: "0"}, block=30_000)
    with _running(second):
        await asyncio.sleep(Settings().job_lease_seconds)
        await redis.delete(JOB_EVENTS)
        begin = time.perf_counter()
        first.kill()
        await redis.xread({JOB_EVENTS: "0"}, block=60_000)
        return time.perf_counter() - begin
