"""What the ML service tells of trainings becomes what jobs' rows say, adapters, and what the accounts' readers are told."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import structlog
from asyncpg import Record

from gateway.adapters import queries as adapter_queries
from gateway.adapters.activation import judge
from gateway.database import Database, Db
from gateway.deletions.service import order_deletion
from gateway.events.publisher import EventPublisher
from gateway.limits.allowances import Allowances
from gateway.training import queries
from gateway.training.announcing import ENDED, event_type_of, job_of, once_key
from gateway.training.schemas import TrainingJob
from gateway.wire import storable, utc_now
from shared.contracts.training import DraftComparison, TrainingState
from shared.redis_events import TrainingEvent

_ORDER: Final = {"queued": 0, "training": 1, "evaluating": 2}
_NO_REASON = "The training did not succeed; try again"
_NO_FIGURES = "The training ended without an adapter that could be compared with what is in use; try again"

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JobKey:
    """Whose training, and which."""

    account_id: UUID
    job_id: UUID


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
        for key, state in _latest(told).items():
            async with self._database.transaction() as db:
                before, after = await _store(db, key, state)
                if after is not None and after.status == "training":
                    after = await self._end_if_too_long(db, key, after)
            if after is not None and after.status in ENDED:
                await self._tell_end(key.account_id, after)
            elif before is not None and after is not None and _is_news(before, after):
                self._events.publish(key.account_id, event_type_of(after), after)

    async def _end_if_too_long(self, db: Db, key: JobKey, job: TrainingJob) -> TrainingJob:
        """Close a job whose account has trained for as long as it may within a day; the next look withdraws it."""
        seconds, _ = await queries.trained(db, key.account_id)
        if seconds <= self._allowances.training_seconds_a_day:
            return job
        await queries.close(db, key.account_id, key.job_id, "failed", self._allowances.training_took_too_long())
        row = await queries.find(db, key.account_id, key.job_id)
        return job if row is None else job_of(row)

    async def announce(self, key: JobKey) -> None:
        """Tell how a job ended, if nobody was told yet.

        Raises:
            Unavailable: as `take`.
        """
        async with self._database.connection() as db:
            row = await queries.find(db, key.account_id, key.job_id)
        if row is not None and row["status"] in ENDED:
            await self._tell_end(key.account_id, job_of(row))

    async def _tell_end(self, account_id: UUID, job: TrainingJob) -> None:
        await self._events.deliver(account_id, event_type_of(job), job, once=once_key(job))


def _latest(told: Sequence[TrainingEvent]) -> dict[JobKey, TrainingState]:
    """The state of each job that counts: its end, or else the last one."""
    latest: dict[JobKey, TrainingState] = {}
    for event in told:
        try:
            key = JobKey(UUID(event.scope), UUID(event.state.job_id))
        except ValueError:  # no job of ours: others may train, too
            continue
        if key not in latest or latest[key].status not in ENDED:
            latest[key] = event.state
    return latest


async def _store(db: Db, key: JobKey, state: TrainingState) -> tuple[TrainingJob | None, TrainingJob | None]:
    """Change the row, unless it has ended or is further than that.

    Returns:
        The job before and after; None: there is none.
    """
    if state.status == "completed":  # which changes what is active: see `adapter_queries`
        await adapter_queries.hold_account(db, key.account_id)
    row = await queries.lock(db, key.account_id, key.job_id)
    if row is None or row["status"] in ENDED:
        await _put_away(db, key, state, row)
        return None, None if row is None else job_of(row)
    before = job_of(row)
    if state.status not in ENDED:
        if (_ORDER[state.status], state.progress) < (_ORDER[before.status], before.progress):
            await queries.heard(db, key.account_id, key.job_id)  # a run that began anew and has not caught up
            return before, before
        return before, job_of(await queries.advance(db, key.account_id, key.job_id, state, state.history))
    if state.step >= before.step:
        await queries.advance(db, key.account_id, key.job_id, replace(state, status=before.status), state.history)
    progress = max(before.progress, state.progress)
    match state.status:
        case "completed":
            ended = await _complete(db, key, state, row)
        case "failed":
            error = storable(state.error or _NO_REASON)
            ended = await queries.end(db, key.account_id, key.job_id, status="failed", progress=progress, error=error)
        case _:
            ended = await queries.end(db, key.account_id, key.job_id, status="cancelled", progress=progress)
    return before, job_of(ended)


async def _complete(db: Db, key: JobKey, state: TrainingState, row: Record) -> Record:
    """Store the adapter, and let it come into use if it is better than what is."""
    if state.eval_loss is None or state.baseline_eval_loss is None or state.adapter_id != str(key.job_id):
        await order_deletion(db, key.account_id, adapter_ids=[key.job_id])
        return await queries.end(db, key.account_id, key.job_id, status="failed", progress=state.progress, error=_NO_FIGURES)
    there = set(await queries.there(db, key.account_id, row["sample_ids"]))
    stale = not there.issuperset(row["sample_ids"])
    active = await adapter_queries.active(db, key.account_id)
    same_baseline = (active["id"] if active is not None else None) == row["baseline_adapter_id"]
    verdict = judge(eval_loss=state.eval_loss, baseline_eval_loss=state.baseline_eval_loss, same_baseline=same_baseline, stale=stale)
    if verdict.activate:
        await adapter_queries.deactivate(db, key.account_id)
    await adapter_queries.add(
        db,
        key.account_id,
        key.job_id,
        base_model=row["base_model"],
        sample_ids=row["sample_ids"],
        eval_loss=state.eval_loss,
        baseline_eval_loss=state.baseline_eval_loss,
        active=verdict.activate,
        stale=stale,
        created_at=utc_now(),
    )
    _logger.info("training completed", job_id=str(key.job_id), activated=verdict.activate)
    return await queries.end(
        db,
        key.account_id,
        key.job_id,
        status="completed",
        progress=100.0,
        eval_loss=state.eval_loss,
        baseline_eval_loss=state.baseline_eval_loss,
        comparisons=[_storable(each) for each in state.comparisons if each.sample_id in {str(sample_id) for sample_id in there}],
        activated=verdict.activate,
        activation_note=verdict.note,
        adapter_id=key.job_id,
    )


async def _put_away(db: Db, key: JobKey, state: TrainingState, row: Record | None) -> None:
    """What comes of a training that nobody wants: its job was cancelled or given up, or has gone with its account."""
    unwanted = row is None or row["status"] in ("failed", "cancelled")
    if unwanted and state.status not in ("failed", "cancelled"):
        await order_deletion(db, key.account_id, adapter_ids=[key.job_id])


def _is_news(before: TrainingJob, after: TrainingJob) -> bool:
    """Readers are told of every whole percent: a long training's states would push everything else out of what can be replayed."""
    return after.status != before.status or int(after.progress) > int(before.progress)


def _storable(comparison: DraftComparison) -> DraftComparison:
    texts = {name: storable(getattr(comparison, name)) for name in ("input", "expected", "before", "after")}
    return replace(comparison, **texts)
