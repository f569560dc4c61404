"""Finds what got lost between a draft's row and its job, whatever died in between."""

from datetime import timedelta

import structlog
from asyncpg import Record

from gateway.database import Database
from gateway.errors import BadRequest
from gateway.ml_client import MlClient
from gateway.responses import job_queries, queries
from gateway.responses.jobs import JobKey
from gateway.responses.results import JobResults
from gateway.wire import utc_now
from shared.redis_events import JobEvent

_LONGEST = timedelta(days=1)
_TOO_LATE = "The model could not be reached for a day; ask for a new draft"

_GIVEN_UP = "This draft could not be written, because something went wrong again and again; ask for a new one"

_logger = structlog.get_logger(__name__)


class DraftReconciliation:
    """Looks after queued drafts of which nothing was heard for a while, and ends the jobs of those that nobody wants any more."""

    def __init__(self, database: Database, ml: MlClient, results: JobResults) -> None:
        self._database = database
        self._ml = ml
        self._results = results

    async def look(self, row: Record) -> None:
        """Do what there is to do about a row of `job_queries.take_due`.

        Raises:
            Unavailable: the ML service, the database or Redis is away; the row comes again.
        """
        key = JobKey(row["account_id"], row["id"])
        if not row["open"]:
            await self._withdraw(key)
        elif utc_now() - row["created_at"] > _LONGEST:
            await self._fail(key, _TOO_LATE)
        else:
            await self._catch_up(key, row)

    async def went_well(self, row: Record) -> None:
        async with self._database.connection() as db:
            await job_queries.went_well(db, JobKey(row["account_id"], row["id"]))

    async def give_up(self, row: Record) -> None:
        """An open draft fails, and gets as many looks again to be withdrawn. One that cannot be withdrawn either is left as it is: its job
        ends by itself, and nobody takes what it brings.
        """
        key = JobKey(row["account_id"], row["id"])
        if row["open"]:
            await self._fail(key, _GIVEN_UP)
            await self.went_well(row)
            return
        async with self._database.connection() as db:
            await job_queries.settle(db, [key])

    async def _withdraw(self, key: JobKey) -> None:
        """The draft was cancelled, or never accepted: see that there is no job, and that the readers know."""
        await self._results.announce(key)
        await self._ml.cancel_job(key.response_id)
        async with self._database.connection() as db:
            await job_queries.settle(db, [key])

    async def _catch_up(self, key: JobKey, row: Record) -> None:
        job = await self._ml.job_state(key.response_id)
        if job is None:
            _logger.warning("job is asked for anew", response_id=str(key.response_id))
            try:
                await self._ml.enqueue(job_queries.request_of(row).for_service(key, job_queries.turns_of(row)))
            except BadRequest as error:  # a model with a smaller window has been loaded since
                await self._fail(key, error.message)
        elif job.status != "queued":
            event = JobEvent(type=job.status, job_id=job.job_id, scope=str(key.account_id), result=job.result, error=job.error)
            await self._results.take([event])

    async def _fail(self, key: JobKey, error: str) -> None:
        """The next look withdraws it."""
        async with self._database.connection() as db:
            await queries.close(db, key.account_id, key.response_id, "failed", error, utc_now())
