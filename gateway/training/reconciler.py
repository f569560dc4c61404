"""Finds what got lost between a training's row and the ML service's job, whatever died in between."""

from datetime import timedelta

import structlog
from asyncpg import Record

from gateway.database import Database
from gateway.errors import BadRequest, Conflict
from gateway.ml_client import MlClient
from gateway.training import queries
from gateway.training.announcing import ENDED
from gateway.training.results import JobKey, TrainingResults
from gateway.training.service import request_for
from gateway.training.training_set import training_set
from gateway.wire import utc_now
from shared.contracts.service import ForgetRequest
from shared.contracts.training import MOST_SAMPLES
from shared.redis_events import TrainingEvent

_LONGEST_SILENCE = timedelta(days=1)
_TOO_LATE = "Nothing was heard of this training for a day; start a new one"
_SAMPLES_GONE = "Samples that this training needs were deleted before it began; start a new one"

_GIVEN_UP = "This training could not be carried out, because something went wrong again and again; start a new one"

_logger = structlog.get_logger(__name__)


class TrainingReconciliation:
    """Looks after jobs of which nothing was heard for a while, and ends the trainings that nobody wants any more."""

    def __init__(self, database: Database, ml: MlClient, results: TrainingResults, fewest_samples: int) -> None:
        self._database = database
        self._ml = ml
        self._results = results
        self._fewest_samples = fewest_samples

    async def reconcile(self, row: Record) -> None:
        """Do what there is to do about a row of `queries.take_due`.

        Raises:
            Unavailable: the ML service, the database or Redis is away; the row comes again.
        """
        key = JobKey(row["account_id"], row["id"])
        if not row["open"]:
            await self._withdraw(key)
            return
        if utc_now() - row["heard_at"] > _LONGEST_SILENCE:
            await self._fail(key, _TOO_LATE)
            return
        state = await self._ml.training_state(key.job_id)
        if state is None:
            await self._hand_over_anew(key)
        else:
            await self._results.take([TrainingEvent(scope=str(key.account_id), state=state)])

    async def reset_attempts(self, row: Record) -> None:
        async with self._database.connection() as db:
            await queries.went_well(db, row["account_id"], row["id"])

    async def give_up(self, row: Record) -> None:
        """An open job fails, and gets as many looks again to be withdrawn. One that cannot be withdrawn either is left as it is: what comes
        of it is put away when it comes.
        """
        key = JobKey(row["account_id"], row["id"])
        if row["open"]:
            await self._fail(key, _GIVEN_UP)
            await self.reset_attempts(row)
            return
        async with self._database.connection() as db:
            await queries.settle(db, key.account_id, key.job_id)

    async def _withdraw(self, key: JobKey) -> None:
        """The job was cancelled, or never accepted: see that no training and no adapter is left of it, and that the readers know."""
        await self._results.announce(key)
        await self._ml.forget(ForgetRequest(scope=str(key.account_id), adapter_ids=[str(key.job_id)]))
        async with self._database.connection() as db:
            await queries.settle(db, key.account_id, key.job_id)

    async def _hand_over_anew(self, key: JobKey) -> None:
        """The ML service never got the job, or has forgotten it; it goes on from what is left of it on its disk."""
        _logger.warning("training is asked for anew", job_id=str(key.job_id))
        async with self._database.transaction() as db:
            row = await queries.lock(db, key.account_id, key.job_id)
            if row is None or row["status"] in ENDED:
                return
            there = await queries.there(db, key.account_id, row["sample_ids"])
        try:
            async with self._database.transaction() as db:
                chosen = await training_set(db, key.account_id, method=row["method"], sample_ids=there, limit=MOST_SAMPLES)
        except BadRequest as error:
            await self._fail(key, error.message)
            return
        if len(chosen.samples) < self._fewest_samples:
            await self._fail(key, _SAMPLES_GONE)
            return
        try:
            await self._ml.start_training(request_for(key.account_id, row, chosen.samples))
        except (BadRequest, Conflict) as error:  # the catalogue is another one now, or what it shall be compared with has gone
            await self._fail(key, error.message)

    async def _fail(self, key: JobKey, error: str) -> None:
        """The next look withdraws it."""
        async with self._database.connection() as db:
            await queries.close(db, key.account_id, key.job_id, "failed", error)
