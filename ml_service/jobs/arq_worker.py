"""arq's worker, made to outlive its Redis."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import structlog
from arq.connections import ArqRedis
from arq.worker import Function, Worker, func

from ml_service.jobs.ledger import decode_arq, encode
from ml_service.jobs.wakeups import PAUSE_SECONDS, REDIS_ERRORS, WakeUps

SHORTEST_POLL_SECONDS: Final = 0.01
"""The queue is looked at no more often than this: jobs that come together, and places that get free together, share one look."""
PICKUP_SECONDS: Final = 1.0
"""For so long arq keeps other workers from a job that it has picked and not yet begun; from there on the job's own lease does."""
NO_LIMIT: Final = 10**9
"""Tries and seconds are limited by the job itself, which knows why it has to be tried again."""

log = structlog.get_logger(__name__)


class QueueWorker(Worker):
    """Runs one function for the jobs of one queue, many at a time, until it is stopped.

    Args:
        redis: its connections; closed by `let_go`.
        queue: the queue's key.
        name, run: the function. It must not raise, but for `arq.Retry` and when it is cancelled: arq would take the job for failed.
        wakeups: say when to look at the queue.
        stop: when it is set, no more jobs are picked and `work` ends.
        jobs: how many run at the same time.
    """

    def __init__(
        self,
        redis: ArqRedis,
        queue: str,
        name: str,
        run: Callable[..., Coroutine[Any, Any, None]],
        wakeups: WakeUps,
        stop: asyncio.Event,
        *,
        jobs: int,
    ) -> None:
        function: Function = func(run, name=name, max_tries=NO_LIMIT, timeout=NO_LIMIT, keep_result=0)
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
        self.tasks.clear()

    async def let_go(self) -> None:
        """Take back arq's sign of life and close Redis, even if it is away; nobody else may be using it by then."""
        with suppress(*REDIS_ERRORS):
            await self.close()

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
        """As arq's; a place that gets free is a reason to look: while there was none, jobs were left in the queue."""
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
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            await self._wakeups.wait()
