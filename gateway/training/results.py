"""What the ML service says of trainings: it becomes what jobs' rows say, adapters, and what the accounts' readers are told. And what got
lost between a job's row and the ML service's job, whatever died in between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from asyncpg import Record
from msgspec import structs

from gateway.adapters.schemas import TrainedAdapter
from gateway.adapters.service import add_trained, hold_account
from gateway.database import Database, Db
from gateway.deletions.service import order_deletion
from gateway.events.publisher import EventPublisher, PendingEvent
from gateway.events.schemas import EventType
from gateway.limits.allowances import Allowances
from gateway.ml_client import MlClient
from gateway.samples.service import existing
from gateway.training import queries
from gateway.training.schemas import ENDED, StoredJob, TrainingJob
from gateway.training.service import request_for
from gateway.training.training_set import training_set
from gateway.wire import storable, utc_now
from shared.contracts.service import ForgetRequest
from shared.contracts.training import MOST_SAMPLES, DraftComparison, TrainingState, TrainingStatus
from shared.errors import BadRequest, Conflict
from shared.redis_events import TrainingEvent

_ORDER: Final = {"queued": 0, "training": 1, "evaluating": 2}
_END_EVENTS: Final[Mapping[TrainingStatus, EventType]] = {
    "completed": "training:completed",
    "failed": "training:failed",
    "cancelled": "training:cancelled",
}
_LONGEST_SILENCE = timedelta(days=1)
_NO_REASON = "The training did not succeed; try again"
_NO_FIGURES = "The training ended without an adapter that could be compared with what is in use; try again"
_TOO_LATE = "Nothing was heard of this training for a day; start a new one"
_SAMPLES_GONE = "Samples that this training needs were deleted before it began; start a new one"
_GIVEN_UP = "This training could not be carried out, because something went wrong again and again; start a new one"

_logger = structlog.get_logger(__name__)


class TrainingResults:
    """Takes in how trainings go. What it does is the same however often and by whichever gateways a state is taken in."""

    def __init__(self, database: Database, events: EventPublisher, allowances: Allowances) -> None:
        self._database = database
        self._events = events
        self._allowances = allowances

    def may_be_lost(self, event: TrainingEvent) -> bool:
        """Each state is worth something, until the next one comes."""
        return False

    async def take(self, told: Sequence[TrainingEvent]) -> None:
        """Store how jobs are; then tell the accounts' readers.

        What has names of another kind than our ids is left alone. A training whose row has gone with its account is ended, and its adapter
        deleted.

        Raises:
            Unavailable: PostgreSQL or Redis is away. Call it again: nothing is stored or told twice.
        """
        for (account_id, job_id), state in _latest(told).items():
            async with self._database.transaction() as db:
                if state.status == "completed":  # it may change which adapter is active
                    await hold_account(db, account_id)
                before = await queries.hold(db, account_id, job_id)
                if before is None or before.job.ended:
                    await _put_away(db, account_id, job_id, before, state)
                    after = None if before is None else before.job
                elif state.status in ENDED:
                    after = await _end(db, account_id, before, state)
                else:
                    after = await self._go_on(db, account_id, before, state)
            if after is not None and after.ended:
                await self._tell_end(account_id, after)
            elif before is not None and after is not None and _is_worth_an_event(before.job, after):
                self._events.publish(account_id, PendingEvent("training:progress", after))

    async def announce(self, account_id: UUID, job_id: UUID) -> None:
        """Tell how a job ended, if nobody was told yet.

        Raises:
            Unavailable: as `take`.
        """
        async with self._database.connection() as db:
            job = await queries.find(db, account_id, job_id)
        if job is not None and job.ended:
            await self._tell_end(account_id, job)

    async def _go_on(self, db: Db, account_id: UUID, stored: StoredJob, state: TrainingState) -> TrainingJob:
        """Note how far a job is, but not of a run that began anew and has not caught up. A job whose account has trained for as long as it
        may within a day is closed; the reconciler withdraws it.
        """
        is_behind = (_ORDER[state.status], state.progress) < (_ORDER[stored.job.status], stored.job.progress)
        job = await queries.save(db, account_id, stored if is_behind else _advanced(stored, state, state.status))
        if job.status != "training" or (await queries.trained(db, account_id))[0] <= self._allowances["training_seconds_a_day"]:
            return job
        return await queries.close(db, account_id, job.id, "failed", self._allowances.training_took_too_long()) or job

    async def _tell_end(self, account_id: UUID, job: TrainingJob) -> None:
        await self._events.deliver(account_id, PendingEvent(_END_EVENTS[job.status], job, once=job.once_key))


def _latest(told: Sequence[TrainingEvent]) -> dict[tuple[UUID, UUID], TrainingState]:
    """The state that counts, by account and job: its end, or else the last one."""
    latest: dict[tuple[UUID, UUID], TrainingState] = {}
    for event in told:
        try:
            key = UUID(event.scope), UUID(event.state.job_id)
        except ValueError:  # no job of ours: others may train, too
            continue
        if key not in latest or latest[key].status not in ENDED:
            latest[key] = event.state
    return latest


async def _put_away(db: Db, account_id: UUID, job_id: UUID, stored: StoredJob | None, state: TrainingState) -> None:
    """What comes of a training that nobody wants: its job was cancelled or given up, or has gone with its account."""
    unwanted = stored is None or stored.job.status != "completed"
    if unwanted and state.status not in ("failed", "cancelled"):
        await order_deletion(db, account_id, adapter_ids=[job_id])


def _advanced(stored: StoredJob, state: TrainingState, status: TrainingStatus) -> StoredJob:
    """A job that is as far as a state says."""
    job = structs.replace(
        stored.job,
        status=status,
        progress=state.progress,
        epoch=state.epoch,
        step=state.step,
        total_steps=state.total_steps,
        loss=state.loss,
        history=state.history,
        peak_memory_mib=state.peak_memory_mib or stored.job.peak_memory_mib,
        started_at=stored.job.started_at or state.started_at or (None if status == "queued" else utc_now()),
    )
    return structs.replace(stored, job=job, eval_samples=state.eval_samples)


async def _end(db: Db, account_id: UUID, before: StoredJob, state: TrainingState) -> TrainingJob:
    stored = _advanced(before, state, before.job.status) if state.step >= before.job.step else before
    progress = max(before.job.progress, state.progress)
    job = structs.replace(stored.job, status=state.status, progress=progress, completed_at=utc_now())
    if state.status == "completed":
        return await _complete(db, account_id, structs.replace(stored, job=job), state)
    error = storable(state.error or _NO_REASON) if state.status == "failed" else None
    return await queries.save(db, account_id, structs.replace(stored, job=structs.replace(job, error=error)))


async def _complete(db: Db, account_id: UUID, stored: StoredJob, state: TrainingState) -> TrainingJob:
    """Store the adapter, which has the job's id and comes into use if it is better than what is."""
    job = stored.job
    if state.eval_loss is None or state.baseline_eval_loss is None or state.adapter_id != str(job.id):
        await order_deletion(db, account_id, adapter_ids=[job.id])
        failed = structs.replace(job, status="failed", error=_NO_FIGURES)
        return await queries.save(db, account_id, structs.replace(stored, job=failed))
    there = await existing(db, account_id, stored.sample_ids)
    adapter = TrainedAdapter(
        id=job.id,
        base_model=job.base_model,
        sample_ids=stored.sample_ids,
        stale=not there.issuperset(stored.sample_ids),
        eval_loss=state.eval_loss,
        baseline_eval_loss=state.baseline_eval_loss,
        baseline_adapter_id=stored.baseline_adapter_id,
    )
    verdict = await add_trained(db, account_id, adapter)
    _logger.info("training completed", job_id=str(job.id), activated=verdict.activate)
    names = {str(sample_id) for sample_id in there}
    completed = structs.replace(
        job,
        progress=100.0,
        eval_loss=state.eval_loss,
        baseline_eval_loss=state.baseline_eval_loss,
        activated=verdict.activate,
        activation_note=verdict.note,
    )
    comparisons = [_storable(comparison) for comparison in state.comparisons if comparison.sample_id in names]
    return await queries.save(db, account_id, structs.replace(stored, job=completed, comparisons=comparisons))


def _is_worth_an_event(before: TrainingJob, after: TrainingJob) -> bool:
    """Readers are told of every whole percent: a long training's states would push everything else out of what can be replayed."""
    return after.status != before.status or int(after.progress) > int(before.progress)


def _storable(comparison: DraftComparison) -> DraftComparison:
    texts = {name: storable(getattr(comparison, name)) for name in ("input", "expected", "before", "after")}
    return replace(comparison, **texts)


class TrainingReconciliation:
    """Looks after jobs of which nothing was heard for a while, and ends the trainings that nobody wants any more."""

    def __init__(self, database: Database, ml: MlClient, results: TrainingResults, fewest_samples: int) -> None:
        self._database = database
        self._ml = ml
        self._results = results
        self._fewest_samples = fewest_samples

    async def reconcile(self, row: Record) -> None:
        """Do what there is to do about a row of `queries.DUE`.

        Raises:
            Unavailable: the ML service, the database or Redis is away; the row comes again.
        """
        account_id, job_id = row["account_id"], row["id"]
        if not row["open"]:
            await self._withdraw(account_id, job_id)
        elif utc_now() - row["heard_at"] > _LONGEST_SILENCE:
            await self._fail(account_id, job_id, _TOO_LATE)
        elif (state := await self._ml.training_state(job_id)) is not None:
            await self._results.take([TrainingEvent(scope=str(account_id), state=state)])
        else:
            await self._ask_anew(account_id, job_id)

    async def give_up(self, row: Record) -> None:
        """An open job fails, and gets as many attempts again to be withdrawn. One that cannot be withdrawn either is left as it is: what
        comes of it is put away when it comes.
        """
        if row["open"]:
            await self._fail(row["account_id"], row["id"], _GIVEN_UP)
            return
        async with self._database.connection() as db:
            await queries.settle(db, row["account_id"], row["id"])

    async def _withdraw(self, account_id: UUID, job_id: UUID) -> None:
        """The job was cancelled, or never accepted: see that no training and no adapter is left of it, and that the readers know."""
        await self._results.announce(account_id, job_id)
        await self._ml.forget(ForgetRequest(scope=str(account_id), adapter_ids=[str(job_id)]))
        async with self._database.connection() as db:
            await queries.settle(db, account_id, job_id)

    async def _ask_anew(self, account_id: UUID, job_id: UUID) -> None:
        """The ML service never got the job, or has forgotten it; it goes on from what is left of it on its disk."""
        _logger.warning("training is asked for anew", job_id=str(job_id))
        async with self._database.transaction() as db:
            stored = await queries.hold(db, account_id, job_id)
            if stored is None or stored.job.ended:
                return
            there = await existing(db, account_id, stored.sample_ids)
        try:
            async with self._database.transaction() as db:
                chosen = await training_set(db, account_id, method=stored.job.method, sample_ids=list(there), limit=MOST_SAMPLES)
            if len(chosen.samples) < self._fewest_samples:
                await self._fail(account_id, job_id, _SAMPLES_GONE)
                return
            await self._ml.start_training(request_for(account_id, stored, chosen.samples))
        except (BadRequest, Conflict) as error:  # the catalogue is another one now, or what it shall be compared with has gone
            await self._fail(account_id, job_id, error.message)

    async def _fail(self, account_id: UUID, job_id: UUID, error: str) -> None:
        """The next attempt withdraws it."""
        async with self._database.connection() as db:
            await queries.close(db, account_id, job_id, "failed", error)
