import math
from collections.abc import Sequence
from uuid import UUID

import structlog

from gateway.adapters.service import active_adapter, hold_account
from gateway.auth.principal import Principal
from gateway.database import Database, Db
from gateway.deletions.service import order_deletion
from gateway.events.publisher import EventPublisher, PendingEvent
from gateway.limits.allowances import Allowances
from gateway.ml_client import MlClient
from gateway.samples.service import existing
from gateway.training import queries

# Metrics use it.
from gateway.training.queries import count_by_status as count_by_status
from gateway.training.schemas import ComparedDraft, StoredJob, TrainingComparison, TrainingJob, TrainingJobPage, TrainingStart
from gateway.training.training_set import training_set
from shared.contracts.training import MOST_SAMPLES, TrainingRequest, TrainingSample
from shared.errors import BadRequest, Conflict, NotFound, Unavailable
from shared.ids import new_id

_NO_ROOM = "Too many trainings are waiting, or training is away; try again in a moment"
_SHORTEST_WAIT_SECONDS = 60
_UNKNOWN = "There is no training job with this id"
_DEVICE_LEFT = "The device that started this training was deactivated"

_logger = structlog.get_logger(__name__)


class TrainingService:
    """Trainings of an account: started, followed, cancelled.

    A training has one id: that of its row here, of the ML service's job, and of the adapter that comes of it. The row comes first, with
    all that it takes to ask for the training: from its commit on the job ends one day, whatever dies. What becomes of it is in `results`.
    """

    def __init__(self, database: Database, ml: MlClient, events: EventPublisher, fewest_samples: int, allowances: Allowances) -> None:
        """`fewest_samples`: with less a training is refused."""
        self._database = database
        self._ml = ml
        self._events = events
        self._fewest_samples = fewest_samples
        self._allowances = allowances

    async def start(self, caller: Principal, body: TrainingStart) -> TrainingJob:
        """Start a training.

        Raises:
            BadRequest: no such model or samples, or too few; nothing is left of the job.
            Conflict: the device has a training that has not ended; or the adapter in use has lost its files.
            TooManyRequests: the account has as many adapters as it may, or has trained as long within a day.
            Unavailable: the ML service is away or full; the row says `failed`.
        """
        stored, samples = await self._store(caller, body)
        job = stored.job
        try:
            await self._ml.start_training(request_for(caller.account_id, stored, samples))
        except (BadRequest, Conflict):
            async with self._database.connection() as db:
                await queries.discard(db, caller.account_id, job.id)
            raise
        except Unavailable as error:
            # The reconciler sees to it that there is no training, in case only the answer got lost, and tells the readers.
            async with self._database.connection() as db:
                await queries.close(db, caller.account_id, job.id, "failed", _NO_ROOM)
            raise Unavailable(_NO_ROOM, retry_after=error.retry_after or 1) from error
        _logger.info("training started", job_id=str(job.id), samples=len(samples))
        return job

    async def get(self, account_id: UUID, job_id: UUID) -> TrainingJob:
        """How far a job is.

        Raises:
            NotFound: no such job, or another account's.
        """
        async with self._database.connection() as db:
            job = await queries.find(db, account_id, job_id)
        if job is None:
            raise NotFound(_UNKNOWN)
        return job

    async def report(self, account_id: UUID, job_id: UUID) -> StoredJob:
        """A job with what its page shows.

        Raises:
            NotFound: no such job, or another account's.
        """
        async with self._database.connection() as db:
            stored = await queries.stored(db, account_id, job_id)
        if stored is None:
            raise NotFound(_UNKNOWN)
        return stored

    async def comparison(self, account_id: UUID, job_id: UUID) -> TrainingComparison:
        """What came of the comparison on held-out replies; empty before that.

        Raises:
            NotFound: no such job, or another account's.
        """
        stored = await self.report(account_id, job_id)
        drafts = [
            ComparedDraft(input=each.input, expected=each.expected, before=each.before, after=each.after) for each in stored.comparisons
        ]
        return TrainingComparison(eval_samples=stored.eval_samples, baseline_adapter_id=stored.baseline_adapter_id, drafts=drafts)

    async def list(self, account_id: UUID, page: int, page_size: int) -> TrainingJobPage:
        async with self._database.connection() as db:
            total = await queries.count(db, account_id)
            jobs = await queries.page(db, account_id, page_size, (page - 1) * page_size)
        return TrainingJobPage(jobs=jobs, total=total, page=page, page_size=page_size)

    async def cancel(self, account_id: UUID, job_id: UUID) -> TrainingJob:
        """Stop a training, whether it waits or runs; cancelling twice is fine. The trainer ends within some seconds.

        Raises:
            NotFound: no such job, or another account's.
            Conflict: it has ended already.
        """
        async with self._database.transaction() as db:
            job = await queries.close(db, account_id, job_id, "cancelled", None) or await queries.find(db, account_id, job_id)
        if job is None:
            raise NotFound(_UNKNOWN)
        if job.status != "cancelled":
            raise Conflict(f"This training has already {job.status}; there is nothing to cancel")
        self._events.publish(account_id, PendingEvent("training:cancelled", job, once=job.once_key))
        return job

    async def device_left(self, db: Db, account_id: UUID, device_id: UUID) -> None:
        """Cancel, inside the caller's transaction, what a device has running.

        The reconciler ends it in the ML service, and tells the readers.
        """
        await queries.close_of_device(db, account_id, device_id, _DEVICE_LEFT)

    async def samples_deleted(self, db: Db, account_id: UUID, sample_ids: Sequence[UUID]) -> None:
        """Remove, inside the caller's transaction, what jobs show of these samples. The ML service forgets the
        trainings that learnt from them when they have ended.
        """
        job_ids = await queries.forget_comparisons(db, account_id, sample_ids)
        if job_ids:
            await order_deletion(db, account_id, training_ids=job_ids)

    async def _store(self, caller: Principal, body: TrainingStart) -> tuple[StoredJob, Sequence[TrainingSample]]:
        """Commit the row; it, and what there is to learn from."""
        account_id = caller.account_id
        async with self._database.transaction() as db:
            if await queries.is_running(db, account_id, caller.device_id):
                raise _busy()
            await self._check_allowances(db, account_id)
        async with self._database.transaction() as db:  # nothing is held while samples are read and masked, which may take seconds
            chosen = await training_set(db, account_id, method=body.method, sample_ids=body.sample_ids, limit=MOST_SAMPLES)
        self._check_enough(len(chosen.samples), body)
        async with self._database.transaction() as db:
            await self._check_allowances(db, account_id)
            if len(await existing(db, account_id, chosen.sample_ids)) < len(chosen.sample_ids):
                raise Conflict("Some of these samples were deleted in this moment; start the training again")
            active = await active_adapter(db, account_id)
            baseline = active.id if active is not None and active.base_model == body.base_model else None
            job = await queries.start(
                db,
                account_id,
                new_id(),
                device_id=caller.device_id,
                wanted=body,
                sample_ids=chosen.sample_ids,
                baseline_adapter_id=baseline,
            )
            if job is None:  # another request was faster; or deactivated the device, which then is told so by the next one
                raise _busy()
        return StoredJob(job=job, sample_ids=chosen.sample_ids, baseline_adapter_id=baseline), chosen.samples

    async def _check_allowances(self, db: Db, account_id: UUID) -> None:
        """The account is held, so that its devices start one after the other."""
        await hold_account(db, account_id)
        if await queries.count_adapters(db, account_id) >= self._allowances["adapters"]:
            raise self._allowances.refusal("adapters")
        seconds, seconds_left = await queries.trained(db, account_id)
        if seconds >= self._allowances["training_seconds_a_day"]:
            raise self._allowances.refusal("training_seconds_a_day", retry_after=max(math.ceil(seconds_left), _SHORTEST_WAIT_SECONDS))

    def _check_enough(self, count: int, body: TrainingStart) -> None:
        if count >= self._fewest_samples:
            return
        kind = "preference pairs" if body.method == "dpo" else "samples"
        raise BadRequest.field(
            "sampleIds",
            f"training needs at least {self._fewest_samples} {kind} that can be learnt from, and here are {count}; accept and edit drafts,"
            " or import what you wrote (POST /api/training/samples/import)",
        )


def request_for(account_id: UUID, stored: StoredJob, samples: Sequence[TrainingSample]) -> TrainingRequest:
    """The training as the ML service takes it. The adapter gets the job's id."""
    job, baseline = stored.job, stored.baseline_adapter_id
    return TrainingRequest(
        job_id=str(job.id),
        baseline_adapter_id=str(baseline) if baseline is not None else None,
        base_model=job.base_model,
        samples=list(samples),
        method=job.method,
        epochs=job.epochs,
        learning_rate=job.learning_rate,
        scope=str(account_id),
    )


def _busy() -> Conflict:
    return Conflict("This device has a training that has not ended; wait for it, or cancel it")
