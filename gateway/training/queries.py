"""SQL of training jobs. A job's `look_at` is there as long as the ML service may have an open job of the same id."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Record

from gateway.background.due_rows import DueRows
from gateway.database import Db
from gateway.training.schemas import StoredJob, TrainingJob, TrainingStart
from shared.contracts.training import DraftComparison, LossPoint, TrainingStatus

DETAILS = """
    id, status, progress, error, method, base_model, device_id, epochs, learning_rate, cardinality(sample_ids) as sample_count, epoch, step,
    total_steps, loss, eval_loss, baseline_eval_loss, activated, activation_note, peak_memory_mib, history, created_at, started_at,
    completed_at, (select adapter.id from adapter where adapter.id = training_job.id) as adapter_id
"""
_OPEN = "status in ('queued', 'training', 'evaluating')"
# The device's row is held so that deactivating it waits, and then finds the job. Its first look comes when everything that goes well has
# long gone well.
START = f"""
    with device as (select id from device where account_id = $1 and id = $3 and status = 'active' for share)
    insert into training_job (account_id, id, device_id, status, base_model, method, epochs, learning_rate, sample_ids, baseline_adapter_id,
        created_at, heard_at, look_at)
    select $1, $2, device.id, 'queued', $4, $5, $6, $7, $8, $9, now(), now(), now() + interval '10 seconds'
    from device
    on conflict (device_id) where {_OPEN} do nothing
    returning {DETAILS}
"""
RUNNING = f"select true from training_job where account_id = $1 and device_id = $2 and {_OPEN}"
DISCARD = "delete from training_job where account_id = $1 and id = $2"

FIND = f"select {DETAILS} from training_job where account_id = $1 and id = $2"
COUNT = "select count(*) from training_job where account_id = $1"
PAGE = f"""
    select {DETAILS} from training_job where account_id = $1
    order by created_at desc, id desc limit $2 offset $3
"""
STORED = f"""
    select {DETAILS}, sample_ids, baseline_adapter_id, eval_samples, comparisons from training_job where account_id = $1 and id = $2
"""
HOLD = f"{STORED} for update"
# An open job that the ML service has just spoken of is looked at when it says no more.
SAVE = f"""
    update training_job set status = $3, progress = $4, error = $5, epoch = $6, step = $7, total_steps = $8, loss = $9, eval_loss = $10,
        baseline_eval_loss = $11, eval_samples = $12, activated = $13, activation_note = $14, peak_memory_mib = $15, history = $16,
        comparisons = $17, started_at = $18, completed_at = $19, heard_at = now(),
        look_at = case when $19::timestamptz is null then now() + interval '60 seconds' end
    where account_id = $1 and id = $2
    returning {DETAILS}
"""
# What the ML service has of it is ended by the reconciler, which looks at it now.
CLOSE = f"""
    update training_job set status = $3, error = $4, completed_at = now(), look_at = now()
    where account_id = $1 and id = $2 and {_OPEN}
    returning {DETAILS}
"""
CLOSE_OF_DEVICE = f"""
    update training_job set status = 'cancelled', error = $3, completed_at = now(), look_at = now()
    where account_id = $1 and device_id = $2 and {_OPEN}
"""
SETTLE = "update training_job set look_at = null where account_id = $1 and id = $2"
# Of all jobs that learn from these samples, also of those that have nothing to forget yet: a job that is just ending is waited for.
FORGET_COMPARISONS = """
    update training_job set comparisons = coalesce(
        (
            select jsonb_agg(comparison order by number)
            from jsonb_array_elements(comparisons) with ordinality as each (comparison, number)
            where comparison ->> 'sample_id' <> all ($2::uuid[]::text[])
        ), '[]'
    )
    where account_id = $1 and sample_ids && $2
    returning id
"""
TRAINED = """
    select coalesce(sum(extract(epoch from coalesce(completed_at, now()) - greatest(started_at, now() - interval '1 day'))), 0) as seconds,
           coalesce(extract(epoch from min(started_at) + interval '1 day' - now()), 0) as seconds_left
    from training_job where account_id = $1 and coalesce(completed_at, now()) > now() - interval '1 day' and started_at is not null
"""
COUNT_ADAPTERS = f"""
    select (select count(*) from adapter where account_id = $1) + (select count(*) from training_job where account_id = $1 and {_OPEN})
"""

# Jobs of which nothing was heard for long, or that nobody wants any more.
DUE = DueRows("training_job", since="heard_at", most="60 seconds", returning=f"{_OPEN} as open, heard_at")
COUNT_BY_STATUS = "select status, count(*) from training_job group by status"


async def start(
    db: Db,
    account_id: UUID,
    job_id: UUID,
    *,
    device_id: UUID,
    wanted: TrainingStart,
    sample_ids: Sequence[UUID],
    baseline_adapter_id: UUID | None,
) -> TrainingJob | None:
    """Store a job that waits for its turn; None when the device has one that runs, or was deactivated."""
    row = await db.fetchrow(
        START, account_id, job_id, device_id, wanted.base_model, wanted.method, wanted.epochs, wanted.learning_rate, sample_ids,
        baseline_adapter_id,
    )  # fmt: skip
    return _maybe_job(row)


async def is_running(db: Db, account_id: UUID, device_id: UUID) -> bool:
    return await db.fetchval(RUNNING, account_id, device_id) is not None


async def discard(db: Db, account_id: UUID, job_id: UUID) -> None:
    await db.execute(DISCARD, account_id, job_id)


async def find(db: Db, account_id: UUID, job_id: UUID) -> TrainingJob | None:
    return _maybe_job(await db.fetchrow(FIND, account_id, job_id))


async def count(db: Db, account_id: UUID) -> int:
    return int(await db.fetchval(COUNT, account_id))


async def page(db: Db, account_id: UUID, limit: int, offset: int) -> list[TrainingJob]:
    return [_job(row) for row in await db.fetch(PAGE, account_id, limit, offset)]


async def stored(db: Db, account_id: UUID, job_id: UUID) -> StoredJob | None:
    return _maybe_stored(await db.fetchrow(STORED, account_id, job_id))


async def hold(db: Db, account_id: UUID, job_id: UUID) -> StoredJob | None:
    """A job that nobody else changes before the transaction ends."""
    return _maybe_stored(await db.fetchrow(HOLD, account_id, job_id))


async def save(db: Db, account_id: UUID, stored: StoredJob) -> TrainingJob:
    """Store how a job is that the caller holds, and that the ML service has just spoken of."""
    job = stored.job
    row = await db.fetchrow(
        SAVE, account_id, job.id, job.status, job.progress, job.error, job.epoch, job.step, job.total_steps, job.loss, job.eval_loss,
        job.baseline_eval_loss, stored.eval_samples, job.activated, job.activation_note, job.peak_memory_mib, job.history,
        stored.comparisons, job.started_at, job.completed_at,
    )  # fmt: skip
    assert row is not None
    return _job(row)


async def close(db: Db, account_id: UUID, job_id: UUID, status: TrainingStatus, error: str | None) -> TrainingJob | None:
    """End an unfinished job that the ML service may still have; None where there is none."""
    return _maybe_job(await db.fetchrow(CLOSE, account_id, job_id, status, error))


async def close_of_device(db: Db, account_id: UUID, device_id: UUID, error: str) -> None:
    """Cancel the device's unfinished job, if it has one."""
    await db.execute(CLOSE_OF_DEVICE, account_id, device_id, error)


async def settle(db: Db, account_id: UUID, job_id: UUID) -> None:
    """Note that the ML service has no open job of this id."""
    await db.execute(SETTLE, account_id, job_id)


async def forget_comparisons(db: Db, account_id: UUID, sample_ids: Sequence[UUID]) -> list[UUID]:
    """Remove what was kept of these samples; the jobs that learn from them."""
    return [row["id"] for row in await db.fetch(FORGET_COMPARISONS, account_id, sample_ids)]


async def trained(db: Db, account_id: UUID) -> tuple[float, float]:
    """Seconds that the account's trainings have run within the last 24 hours, and seconds until some of them are longer ago."""
    row = await db.fetchrow(TRAINED, account_id)
    assert row is not None
    return float(row["seconds"]), float(row["seconds_left"])


async def count_adapters(db: Db, account_id: UUID) -> int:
    """Those that are there, and those that may come of trainings that have not ended."""
    return int(await db.fetchval(COUNT_ADAPTERS, account_id))


async def count_by_status(db: Db) -> dict[str, int]:
    """Jobs of all accounts."""
    return {row["status"]: row["count"] for row in await db.fetch(COUNT_BY_STATUS)}


def _job(row: Record | dict[str, Any]) -> TrainingJob:
    return TrainingJob(**{**row, "history": msgspec.convert(row["history"], list[LossPoint])})


def _maybe_job(row: Record | None) -> TrainingJob | None:
    return None if row is None else _job(row)


def _maybe_stored(row: Record | None) -> StoredJob | None:
    if row is None:
        return None
    fields = dict(row)
    beside = {name: fields.pop(name) for name in ("sample_ids", "baseline_adapter_id", "eval_samples", "comparisons")}
    return StoredJob(job=_job(fields), **{**beside, "comparisons": msgspec.convert(beside["comparisons"], list[DraftComparison])})
