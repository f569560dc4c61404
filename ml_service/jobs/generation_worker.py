"""The worker of the generation queue: has the ML service generate what was asked for, and tells what came of it."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Final

import structlog
from arq.connections import ArqRedis

from ml_service.jobs.leases import Leases
from ml_service.jobs.ledger import QueueAway, connection_pool
from ml_service.jobs.queues import Job, JobQueue
from ml_service.jobs.replicas import GenerationBroke, GenerationError, ModelAway, Replicas, RequestRefused
from ml_service.jobs.runs import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, REDIS_TIMEOUT_SECONDS, Runs, stop_signal, work_on
from ml_service.settings import Settings
from shared.contracts.generation import GenerateResponse, TokenEvent

BREAKS_ALLOWED: Final = 3
"""How often a generation may break on a model that works."""
TOKENS_PAUSE_SECONDS: Final = 0.03
"""Text of a job is put on the stream at most so often: pieces that come faster are joined."""

log = structlog.get_logger(__name__)


async def run_generation_worker(settings: Settings) -> None:
    """Work until a signal comes: at the first one hand the jobs back and end, at the second end at once."""
    stop = stop_signal()
    redis = ArqRedis(pool_or_conn=connection_pool(settings.redis_url, REDIS_TIMEOUT_SECONDS))
    queue = JobQueue(redis, settings)
    replicas = Replicas(settings.ml_service_url, settings.ml_service_token, settings.job_stall_seconds)
    leases = Leases(queue, settings.job_lease_seconds)
    runs = GenerationRuns(queue, replicas, leases, stop, settings.job_patience_seconds)
    try:
        await work_on(redis, runs, leases, stop, jobs=settings.worker_jobs)
    finally:
        await replicas.close()


class GenerationRuns(Runs[Job]):
    """Runs generations.

    Args:
        queue: the ledger.
        replicas: what generates.
        leases: where running jobs are kept alive.
        stop: when it is set, jobs that run go back to the queue.
        patience_seconds: a job's age at which it is given up while there is no model.
    """

    def __init__(self, queue: JobQueue, replicas: Replicas, leases: Leases, stop: asyncio.Event, patience_seconds: float) -> None:
        super().__init__(queue, leases, stop)
        self._queue: JobQueue = queue
        self._replicas = replicas
        self._patience_seconds = patience_seconds

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
