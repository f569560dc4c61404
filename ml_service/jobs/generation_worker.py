"""The worker of the generation queue: has the ML service generate what was asked for, and tells what came of it.

A job can be run twice (its worker was taken for dead, or Redis forgot a moment): each run has an id of its own, holds the job under a lease
that it renews, and is stopped when it holds the job no more. Whichever run ends the job first has ended it.
"""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar

import structlog
from arq import Retry
from arq.connections import ArqRedis

from ml_service.jobs.arq_worker import QueueWorker
from ml_service.jobs.leases import Leases
from ml_service.jobs.queues import FUNCTION, Job, JobQueue, QueueAway, connection_pool
from ml_service.jobs.replicas import GenerationBroke, GenerationError, ModelAway, Replicas, RequestRefused
from ml_service.jobs.scripts import QUEUE
from ml_service.settings import Settings
from shared.contracts.generation import GenerateResponse, TokenEvent
from shared.ids import new_id

REDIS_TIMEOUT_SECONDS: Final = 5.0
HAND_BACK_SECONDS: Final = 2.0
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
CANCEL_AGAIN_SECONDS: Final = 0.1
BREAKS_ALLOWED: Final = 3
"""How often a generation may break on a model that works."""
TOKENS_PAUSE_SECONDS: Final = 0.03
"""Text of a job is put on the stream at most so often: pieces that come faster are joined."""

Result = TypeVar("Result")
log = structlog.get_logger(__name__)


async def run_generation_worker(settings: Settings) -> None:
    """Work until a signal comes: at the first one hand the jobs back and end, at the second end at once."""
    stop = _stop_signal()
    redis = ArqRedis(pool_or_conn=connection_pool(settings.redis_url, REDIS_TIMEOUT_SECONDS))
    queue = JobQueue(redis, settings)
    replicas = Replicas(settings.ml_service_url, settings.ml_service_token, settings.job_stall_seconds)
    leases = Leases(queue, settings.job_lease_seconds)
    runs = GenerationRuns(queue, replicas, leases, stop, settings.job_patience_seconds)
    worker = QueueWorker(redis, QUEUE, FUNCTION, runs.run, stop, jobs=settings.worker_jobs, poll_seconds=settings.worker_poll_seconds)
    keeping = asyncio.create_task(leases.keep(), name="leases")
    keeping.add_done_callback(lambda _: stop.set())  # without it jobs would be taken for a dead worker's
    try:
        if await runs.insist(queue.depth) is not None:  # arq itself wants Redis to be there at the start
            log.info("generation worker ready", jobs=settings.worker_jobs)
            await worker.work()
    finally:
        await cancel(keeping)
        await replicas.close()
        await redis.aclose(close_connection_pool=True)
    if not keeping.cancelled():
        keeping.result()


def _stop_signal() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; a second one ends the process as if nobody listened."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def begin_to_stop() -> None:
        log.info("generation worker stops")
        stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, begin_to_stop)
    return stop


class GenerationRuns:
    """Runs jobs: one call of `run` each.

    Args:
        queue: the ledger.
        replicas: what generates.
        leases: where running jobs are kept alive.
        stop: when it is set, jobs that run go back to the queue.
        patience_seconds: a job's age at which it is given up while there is no model.
    """

    def __init__(self, queue: JobQueue, replicas: Replicas, leases: Leases, stop: asyncio.Event, patience_seconds: float) -> None:
        self._queue = queue
        self._replicas = replicas
        self._leases = leases
        self._stop = stop
        self._patience_seconds = patience_seconds

    async def run(self, ctx: dict[Any, Any], *_arguments: Any, **_named: Any) -> None:
        """What arq calls.

        Raises:
            Retry: there is nothing to do or the worker stops, and arq shall leave the queue as it is.
        """
        job_id, run = str(ctx["job_id"]), str(new_id())
        job = await self.insist(lambda: self._queue.begin(job_id, run))
        if job is None:
            raise Retry
        work = asyncio.create_task(self._work(job))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            with self._leases.hold(job_id, run, work):
                await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            await cancel(work)
        if self._stop.is_set():
            await self._hand_back(job)
        if work.cancelled():
            raise Retry
        await work

    async def insist(self, call: Callable[[], Awaitable[Result]]) -> Result | None:
        """Call until Redis does its part, for as long as it takes; None if the worker is stopped before."""
        pause = FIRST_PAUSE_SECONDS
        while not self._stop.is_set():
            try:
                return await call()
            except QueueAway:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        return None

    async def _work(self, job: Job) -> None:
        began = time.monotonic()
        end = await self._outcome(job)
        self._leases.let_go(job.run)  # whoever ends it, this run is not to be stopped any more
        ended = await self.insist(end)
        seconds = round(time.monotonic() - began, 3)
        log.info("job run", job_id=job.job_id, ended=ended, waited=job.age_seconds, seconds=seconds)

    async def _outcome(self, job: Job) -> Callable[[], Awaitable[bool]]:
        """Generate; returns what is to be done with the job then."""
        try:
            answer = await self._generate(job)
        except GenerationError as error:
            message = str(error)
        except Exception:  # a job that was accepted ends, also by a mistake of ours
            log.exception("job broke", job_id=job.job_id)
            message = "The generation failed"
        else:
            return lambda: self._queue.complete(job.job_id, answer)
        return lambda: self._queue.fail(job.job_id, message)

    async def _generate(self, job: Job) -> GenerateResponse:
        """The answer, however often it has to be asked for.

        Raises:
            GenerationError: there will be none.
        """
        give_up = time.monotonic() + self._patience_seconds - job.age_seconds
        pause, breaks = FIRST_PAUSE_SECONDS, 0
        while True:
            tokens = TokenPublisher(self._queue, job)
            try:
                return await self._attempt(job, tokens)
            except RequestRefused:
                raise
            except GenerationBroke:
                breaks += 1
                if breaks == BREAKS_ALLOWED:
                    raise
            except ModelAway as error:
                if time.monotonic() > give_up:
                    raise
                log.debug("model away", job_id=job.job_id, reason=str(error))
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - apart from each other, not secret
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            if tokens.published:
                await self.insist(lambda: self._queue.begin(job.job_id, job.run))  # tells that the text begins anew

    async def _attempt(self, job: Job, tokens: "TokenPublisher") -> GenerateResponse:
        async with aclosing(self._replicas.generate(job.request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, GenerateResponse):
                    await tokens.flush()
                    return piece
                await tokens.add(piece)
        raise ModelAway("The model stopped in the middle of the answer")

    async def _hand_back(self, job: Job) -> None:
        """Give the job to whoever works on; without Redis its lease will run out instead."""
        with suppress(QueueAway, TimeoutError):
            async with asyncio.timeout(HAND_BACK_SECONDS):
                await self._queue.hand_back(job.job_id, job.run)


class TokenPublisher:
    """Puts a job's text on the stream, if that was asked for; what Redis does not take is lost."""

    def __init__(self, queue: JobQueue, job: Job) -> None:
        self._queue = queue
        self._job = job
        self._waiting: dict[int, str] = {}
        self._next = 0.0
        self._count = 0

    @property
    def published(self) -> bool:
        """Whether anything was told."""
        return self._count > 0

    async def add(self, token: TokenEvent) -> None:
        if not self._job.publish_tokens:
            return
        self._waiting[token.index] = self._waiting.get(token.index, "") + token.text
        if time.monotonic() >= self._next:
            await self.flush()

    async def flush(self) -> None:
        if not self._waiting:
            return
        tokens = [TokenEvent(text=text, index=index) for index, text in self._waiting.items()]
        self._waiting = {}
        self._next = time.monotonic() + TOKENS_PAUSE_SECONDS
        first = self._count
        self._count += len(tokens)
        with suppress(QueueAway):
            await self._queue.publish(self._job.job_id, self._job.run, tokens, first)


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it has ended.

    Once is not always enough: before Python 3.12 `asyncio.wait_for`, through which redis-py sends, loses a cancellation that comes just
    when it is done (python/cpython#86296).
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_SECONDS)
