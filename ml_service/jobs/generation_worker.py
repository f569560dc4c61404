"""The worker of the generation queue: has the ML service generate what was asked for, and publishes what came of it."""

import asyncio
import random
import time
from contextlib import aclosing, suppress
from typing import Final

import structlog
from arq.connections import ArqRedis

from ml_service.jobs.generation_queue import GenerationQueue
from ml_service.jobs.queue import Job, QueueAway
from ml_service.jobs.replicas import GenerationBroke, ModelAway, Replicas
from ml_service.jobs.worker import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, JobWorker, stop_signal, worker_redis
from ml_service.settings import Settings
from shared.contracts.generation import GenerateResponse, TokenEvent
from shared.contracts.jobs import AsyncGenerateRequest

BREAKS_ALLOWED: Final = 3
"""How often a generation may break on a model that works."""
TOKENS_PAUSE_SECONDS: Final = 0.03
"""Text of a job is put on the stream at most so often: pieces that come faster are joined."""

log = structlog.get_logger(__name__)


async def run_generation_worker(settings: Settings) -> None:
    """Work until a signal comes: at the first one hand the jobs back and end, at the second end at once."""
    replicas = Replicas(settings.ml_service_url, settings.ml_service_token, settings.job_stall_seconds)
    try:
        worker = GenerationWorker(worker_redis(settings.redis_url), settings, replicas, stop_signal())
        worker.metrics.serve(settings)
        await worker.run()
    finally:
        await replicas.close()


class GenerationWorker(JobWorker[AsyncGenerateRequest, GenerateResponse]):
    """Runs generations on `replicas`."""

    def __init__(self, redis: ArqRedis, settings: Settings, replicas: Replicas, stop: asyncio.Event) -> None:
        self._queue: GenerationQueue = GenerationQueue(redis, settings)
        super().__init__(redis, self._queue, stop, jobs=settings.worker_jobs, heartbeat=settings.worker_heartbeat)
        self._replicas = replicas
        self._patience_seconds = settings.job_patience_seconds

    async def work(self, job: Job[AsyncGenerateRequest]) -> GenerateResponse:
        """The answer, however often it has to be asked for; while there is no model, until the job is too old."""
        give_up = time.monotonic() + self._patience_seconds - job.age_seconds
        pause, breaks = FIRST_PAUSE_SECONDS, 0
        while True:
            tokens = TokenPublisher(self._queue, job)
            try:
                return await self._attempt(job, tokens)
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
                await self.until_answered(lambda: self._queue.begin(job.job_id, job.lease))  # says that the text begins anew

    async def _attempt(self, job: Job[AsyncGenerateRequest], tokens: "TokenPublisher") -> GenerateResponse:
        async with aclosing(self._replicas.generate(job.request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, GenerateResponse):
                    await tokens.flush()
                    return piece
                await tokens.add(piece)
        raise ModelAway("The model stopped in the middle of the answer")


class TokenPublisher:
    """Puts a job's text on the stream, if that was asked for; what Redis does not take is lost."""

    def __init__(self, queue: GenerationQueue, job: Job[AsyncGenerateRequest]) -> None:
        self._queue = queue
        self._job = job
        self._waiting: dict[int, str] = {}
        self._next = 0.0
        self.published = 0
        """How many pieces there were."""

    async def add(self, token: TokenEvent) -> None:
        if not self._job.request.publish_tokens:
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
        first = self.published
        self.published += len(tokens)
        with suppress(QueueAway):
            await self._queue.publish(self._job, tokens, first)
