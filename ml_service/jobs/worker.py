"""What every worker does: takes jobs from its queue through arq, holds each under a lease, runs it, and ends it in the ledger.

A job can be run twice (its worker was taken for dead, or Redis forgot a moment): each run has a lease of its own that it renews, and is
stopped when it holds the job no more. Whichever run ends the job first has ended it.
"""

import asyncio
import logging
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import structlog
from arq import Retry
from arq.connections import ArqRedis
from arq.worker import Function, Worker, func
from opentelemetry.trace import SpanKind
from redis.asyncio import Redis

from ml_service.jobs.metrics import RunEnd, WorkerMetrics
from ml_service.jobs.queue import (
    FUNCTION,
    REDIS_ERRORS,
    Job,
    JobFailed,
    JobQueue,
    QueueAway,
    RequestT,
    ResultT,
    connection_pool,
    decode_arq,
    encode,
)
from shared.background import BackgroundTask, end
from shared.ids import new_id
from shared.tracing import span

REDIS_TIMEOUT_SECONDS: Final = 5.0
HAND_BACK_SECONDS: Final = 2.0
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
BEAT_SECONDS: Final = 0.25
"""A worker's heartbeat: a cancelled job is stopped within this time."""
IDLE_BEAT_SECONDS: Final = 0.5
"""The same while it has no jobs; less than the shortest lease, which a job gets between two beats."""
POLL_SECONDS: Final = 2.0
"""A queue is read so often although nothing was published: a notification may be lost, or have gone to a worker that then died."""
SHORTEST_POLL_SECONDS: Final = 0.01
"""It is read no more often than this: jobs that come together, and places that get free together, share one reading."""
LISTEN_SECONDS: Final = 60.0
RECONNECT_SECONDS: Final = 0.25
PICKUP_SECONDS: Final = 1.0
"""For so long arq keeps other workers from a job that it has picked and not yet begun; from there on the job's own lease does."""
NO_LIMIT: Final = 10**9
"""Tries and seconds are limited by the job itself, which knows why it has to be tried again."""

Answer = TypeVar("Answer")
log = structlog.get_logger(__name__)


class JobWorker(ABC, Generic[RequestT, ResultT]):
    """Works on one queue, `jobs` at the same time, until `stop` is set; jobs that run then go back to the queue."""

    def __init__(
        self, redis: ArqRedis, queue: JobQueue[RequestT, ResultT, Any], stop: asyncio.Event, *, jobs: int, heartbeat: str = ""
    ) -> None:
        """`redis` has connections of its own, and is closed in the end. `heartbeat` is a file that is touched at every beat, for those who
        ask from outside whether this worker goes on; empty: none."""
        self._redis = redis
        self._queue = queue
        self._stop = stop
        self._jobs = jobs
        self.metrics = WorkerMetrics(queue.spec.name)
        self._heartbeat = Path(heartbeat) if heartbeat else None
        self._held: dict[str, tuple[str, asyncio.Task[None]]] = {}
        """By lease: the job, and what works on it."""

    @abstractmethod
    async def work(self, job: Job[RequestT]) -> ResultT:
        """Do the job. It is cancelled when the worker stops and when the run has lost the job.

        Raises:
            JobFailed: it cannot be done.
        """

    async def clean_up(self, job: Job[RequestT]) -> None:
        """End what the work has started, however it ended; called before the job goes to others. It is not cancelled."""

    async def prepare(self) -> bool:
        """Wait for Redis, which arq wants to be there at the start; false if the worker is stopped before."""
        return await self.until_answered(self._queue.depth) is not None

    async def run(self) -> None:
        """Run jobs until `stop` is set."""
        wakeups = Wakeups(self._redis, self._queue.spec.wakeups)
        arq = _ArqWorker(self._redis, self._queue.spec.arq_queue, self._run_job, wakeups, self._stop, jobs=self._jobs)
        background = [BackgroundTask("leases", self._keep_leases), BackgroundTask("wakeups", wakeups.listen)]
        for task in background:
            task.start()
        try:
            if await self.prepare():
                log.info("worker ready", queue=self._queue.spec.name, jobs=self._jobs)
                await arq.work()
        finally:
            for task in background:  # until here leases were kept; a heartbeat must not meet a closed connection
                await task.close()
            await self._redis.aclose(close_connection_pool=True)

    async def until_answered(self, call: Callable[[], Awaitable[Answer]]) -> Answer | None:
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

    async def _run_job(self, ctx: dict[Any, Any], *_arguments: Any, **_named: Any) -> None:
        """What arq calls.

        Raises:
            Retry: there is nothing to do or the worker stops, and arq shall leave the queue as it is.
        """
        job_id, lease = str(ctx["job_id"]).removeprefix(self._queue.spec.arq_id), str(new_id())
        job = await self.until_answered(lambda: self._queue.begin(job_id, lease))
        if job is None:
            raise Retry
        work = asyncio.create_task(self._work_and_end(job))
        stopping = asyncio.create_task(self._stop.wait())
        self._held[lease] = (job_id, work)
        try:
            await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            await end(work)
            await self.clean_up(job)
            self._held.pop(lease, None)
        if self._stop.is_set():
            with suppress(QueueAway, TimeoutError):  # without Redis its lease will run out instead
                async with asyncio.timeout(HAND_BACK_SECONDS):
                    await self._queue.hand_back(job)
        if work.cancelled():
            raise Retry
        await work

    async def _work_and_end(self, job: Job[RequestT]) -> None:
        """Do the job and end it in the ledger."""
        began = time.monotonic()
        run_end: RunEnd = "stopped"
        try:
            with self.metrics.running.track_inprogress(), span(f"{self._queue.spec.name} job", SpanKind.CONSUMER, job.request.traceparent):
                run_end, finish = await self._outcome(job)
        finally:
            seconds = time.monotonic() - began
            self.metrics.ended(run_end, seconds)
        self._held.pop(job.lease, None)  # whoever ends it, this run is not to be stopped any more
        ended = await self.until_answered(finish)
        log.info("job run", queue=self._queue.spec.name, job_id=job.job_id, ended=ended, waited=job.age_seconds, seconds=round(seconds, 3))

    async def _outcome(self, job: Job[RequestT]) -> tuple[RunEnd, Callable[[], Awaitable[bool]]]:
        """Do the job; returns how that went and the call that ends it."""
        try:
            result = await self.work(job)
        except JobFailed as failure:
            message = str(failure)
        except Exception:  # a job that was accepted ends, also by a mistake of ours
            log.exception("job broke", queue=self._queue.spec.name, job_id=job.job_id)
            message = f"The {self._queue.spec.name} failed"
        else:
            return "completed", lambda: self._queue.complete(job.job_id, result)
        return "failed", lambda: self._queue.fail(job.job_id, message)

    async def _keep_leases(self) -> None:
        """Renew leases until cancelled, stop what has lost its job, and put back what dead workers held.

        When Redis comes back all leases may have run out: first everyone gets time to renew theirs.
        """
        connected_since: float | None = None
        while True:
            self._beat()
            held = [(job_id, lease) for lease, (job_id, _) in self._held.items()]
            patient = connected_since is None or time.monotonic() < connected_since + self._queue.spec.lease_ms / 2000
            try:
                lost = await self._queue.renew(held, requeue=not patient)
            except QueueAway:
                if connected_since is not None:
                    log.warning("redis is away; jobs go on")
                connected_since = None
            else:
                if connected_since is None:
                    log.info("redis is there")
                    connected_since = time.monotonic()
                for lease in lost & self._held.keys():
                    self._held[lease][1].cancel()
            await asyncio.sleep(BEAT_SECONDS if self._held else IDLE_BEAT_SECONDS)

    def _beat(self) -> None:
        if self._heartbeat is not None:
            with suppress(OSError):  # a full disk ends no job
                self._heartbeat.touch()


class Wakeups:
    """Wakes an idle worker when a job comes or returns to its queue.

    A notification carries nothing: it says that reading the queue is worth it now. So one that is lost costs time and no job.
    """

    def __init__(self, redis: Redis, channel: str) -> None:
        """`redis` is not closed here."""
        self._redis = redis
        self._channel = channel
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """End the present wait, or else the next one."""
        self._awake.set()

    async def wait(self) -> None:
        """Wait until it is time to read the queue; a wake-up since the last wait ended counts."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._awake.wait()
        self._awake.clear()

    async def listen(self) -> None:
        """Wake at every notification until cancelled, whether Redis is there or not."""
        while True:
            with suppress(*REDIS_ERRORS):
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(self._channel)
                    while True:
                        # The answer to a subscription wakes, too: what was published before it was not heard.
                        if await pubsub.get_message(timeout=LISTEN_SECONDS) is not None:
                            self.wake()
            await asyncio.sleep(RECONNECT_SECONDS)


class _ArqWorker(Worker):
    """arq's worker, made to outlive its Redis. Runs one function for the jobs of one queue, many at a time, until it is stopped.

    The function must not raise, but for `arq.Retry` and when it is cancelled: arq would take the job for failed.
    """

    def __init__(
        self,
        redis: ArqRedis,
        queue: str,
        run: Callable[..., Coroutine[Any, Any, None]],
        wakeups: Wakeups,
        stop: asyncio.Event,
        *,
        jobs: int,
    ) -> None:
        function: Function = func(run, name=FUNCTION, max_tries=NO_LIMIT, timeout=NO_LIMIT, keep_result=0)
        super().__init__(
            [function],
            redis_pool=redis,
            queue_name=queue,
            max_jobs=jobs,
            poll_delay=SHORTEST_POLL_SECONDS,
            job_timeout=NO_LIMIT,
            keep_result=0,
            log_results=False,
            job_serializer=encode,
            job_deserializer=decode_arq,
            handle_signals=False,
        )
        self._wakeups = wakeups
        self._stop = stop
        # arq blocks a job for its longest timeout; a killed worker's jobs would be away for as long.
        self.in_progress_timeout_s = PICKUP_SECONDS
        # At its information level arq logs a line or two a job; what is worth knowing is logged here.
        logging.getLogger("arq.worker").setLevel(logging.WARNING)

    async def work(self) -> None:
        """Run jobs until `stop` is set; then wait for those that run, which see it too."""
        stopping = asyncio.create_task(self._stop.wait())
        stopping.add_done_callback(lambda _: self._wakeups.wake())
        try:
            with suppress(asyncio.CancelledError):  # how `_poll_iteration` ends it
                await self.async_run()
        finally:
            stopping.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """As arq's, which never again uses the place of a job that it cannot read."""
        for job_id in job_ids:
            if self.job_counter >= self.max_jobs:
                return
            try:
                await super().start_jobs([job_id])
            except REDIS_ERRORS:
                self._release_sem_dec_counter_on_complete()
                raise

    def _release_sem_dec_counter_on_complete(self) -> None:
        """As arq's; a place that gets free is a reason to read the queue: while there was none, jobs were left in it."""
        super()._release_sem_dec_counter_on_complete()
        self._wakeups.wake()

    async def _poll_iteration(self) -> None:
        """As arq's, but it then waits until there may be something new, and is ended by nothing else than `stop`.

        Jobs that are picked and lost while Redis is away have their leases.
        """
        if self._stop.is_set():
            raise asyncio.CancelledError
        try:
            await super()._poll_iteration()
        except REDIS_ERRORS as error:
            log.debug("queue not read", kind=type(error).__name__)
            await asyncio.sleep(RECONNECT_SECONDS)
        else:
            await self._wakeups.wait()


def worker_redis(redis_url: str, timeout_seconds: float = REDIS_TIMEOUT_SECONDS) -> ArqRedis:
    """A client for a worker and its ledger."""
    return ArqRedis(pool_or_conn=connection_pool(redis_url, timeout_seconds))


def stop_signal() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; a second one ends the process as if nobody listened."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def begin_to_stop() -> None:
        log.info("worker stops")
        stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, begin_to_stop)
    return stop
