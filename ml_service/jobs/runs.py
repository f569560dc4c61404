"""What every worker does with the jobs of its queue.

A job can be run twice (its worker was taken for dead, or Redis forgot a moment): each run has an id of its own, holds the job under a lease
that it renews, and is stopped when it holds the job no more. Whichever run ends the job first has ended it.
"""

import asyncio
import signal
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

import structlog
from arq import Retry
from arq.connections import ArqRedis

from ml_service.jobs.arq_worker import QueueWorker
from ml_service.jobs.leases import Leases
from ml_service.jobs.ledger import FUNCTION, JobT, Ledger, QueueAway
from ml_service.jobs.wakeups import WakeUps
from shared.ids import new_id

REDIS_TIMEOUT_SECONDS: Final = 5.0
HAND_BACK_SECONDS: Final = 2.0
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
CANCEL_AGAIN_SECONDS: Final = 0.1

Result = TypeVar("Result")
log = structlog.get_logger(__name__)


class Runs(ABC, Generic[JobT]):
    """Runs the jobs of one queue: one call of `run` each.

    Args:
        queue: the ledger.
        leases: where running jobs are kept alive.
        stop: when it is set, jobs that run go back to the queue.
    """

    def __init__(self, queue: Ledger[JobT], leases: Leases, stop: asyncio.Event) -> None:
        self._queue = queue
        self._leases = leases
        self._stop = stop

    @property
    def queue(self) -> Ledger[JobT]:
        """Whose jobs these are."""
        return self._queue

    @abstractmethod
    async def _work(self, job: JobT) -> None:
        """Do the job and end it in the ledger. It is cancelled when the worker stops and when the run has lost the job."""

    async def _clear(self, job: JobT) -> None:
        """End what the work has started, however it ended; called before the job goes to others. It is not cancelled."""

    async def prepare(self) -> bool:
        """Wait for Redis, which arq wants to be there at the start; false if the worker is stopped before."""
        return await self.insist(self._queue.depth) is not None

    async def run(self, ctx: dict[Any, Any], *_arguments: Any, **_named: Any) -> None:
        """What arq calls.

        Raises:
            Retry: there is nothing to do or the worker stops, and arq shall leave the queue as it is.
        """
        job_id, run = self._queue.own_id(str(ctx["job_id"])), str(new_id())
        job = await self.insist(lambda: self._queue.begin(job_id, run))
        if job is None:
            raise Retry
        work = asyncio.create_task(self._work(job))
        stopping = asyncio.create_task(self._stop.wait())
        with self._leases.hold(job_id, run, work):
            try:
                await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopping.cancel()
                await cancel(work)
                await self._clear(job)
        if self._stop.is_set():
            await self._give_back(job)
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

    async def _give_back(self, job: JobT) -> None:
        """Give the job to whoever works on; without Redis its lease will run out instead."""
        with suppress(QueueAway, TimeoutError):
            async with asyncio.timeout(HAND_BACK_SECONDS):
                await self._queue.hand_back(job.job_id, job.run)


async def work_on(redis: ArqRedis, runs: Runs[Any], leases: Leases, stop: asyncio.Event, *, jobs: int) -> None:
    """Run a queue's jobs until `stop` is set, then close Redis.

    Args:
        redis, runs, leases, stop: see there.
        jobs: how many at the same time.
    """
    names = runs.queue.names
    wakeups = WakeUps(redis, names.wakeups)
    worker = QueueWorker(redis, names.queue, FUNCTION, runs.run, wakeups, stop, jobs=jobs)
    background = [asyncio.create_task(leases.keep(), name="leases"), asyncio.create_task(wakeups.listen(), name="wakeups")]
    for task in background:  # without the first, jobs would be taken for a dead worker's; without the second they would begin late
        task.add_done_callback(lambda _: stop.set())
    try:
        if await runs.prepare():
            log.info("worker ready", queue=names.name, jobs=jobs)
            await worker.work()
            for task in background:  # while the last jobs ended their leases were kept; a heartbeat must not meet a closed connection
                await cancel(task)
            await worker.let_go()
    finally:
        for task in background:
            await cancel(task)
        await redis.aclose(close_connection_pool=True)
    for task in background:
        if not task.cancelled():
            task.result()


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


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it has ended.

    Once is not always enough: before Python 3.12 `asyncio.wait_for`, through which redis-py sends, loses a cancellation that comes just
    when it is done (python/cpython#86296).
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_SECONDS)
