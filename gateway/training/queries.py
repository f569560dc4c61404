"""SQL of training jobs. A job's `look_at` is there as long as the ML service may have an open job of the same id."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from gateway.database import Db
from shared.contracts.training import DraftComparison, LossPoint, TrainingState

DETAILS = """
    id, status, progress, error, method, base_model, device_id, epochs, learning_rate, cardinality(sample_ids) as sample_count, epoch, step,
    total_steps, loss, eval_loss, baseline_eval_loss, activated, activation_note, adapter_id, peak_memory_mib, history,
    created_at, started_at, completed_at
"""
_OPEN = "status in ('queued', 'training', 'evaluating')"
# The device's row is held so that deactivating it waits, and then finds the job. Its first look comes when everything that goes well has
# long gone well.
START = f"""
    with device as (select id from device where account_id = $1 and id = $3 and status = 'active' for share)
    insert into training_job (account_id, id, device_id, status, base_model, method, epochs, learning_rate, sample_ids, baseline_adapter_id,
        created_at, heard_at, look_at)
    select $1, $2, device.id, 'queued', $4::varchar, $5, $6, $7, $8, baseline.id, $9, $9, now() + interval '10 seconds'
    from device left join adapter baseline on baseline.account_id = $1 and baseline.active and baseline.base_model = $4::varchar
    on conflict (device_id) where {_OPEN} do nothing
    returning baseline_adapter_id, {DETAILS}
"""
RUNNING = f"select id from training_job where account_id = $1 and device_id = $2 and {_OPEN}"
DISCARD = "delete from training_job where account_id = $1 and id = $2"

FIND = f"select {DETAILS} from training_job where account_id = $1 and id = $2"
COUNT = "select count(*) from training_job where account_id = $1"
PAGE = f"""
    select {DETAILS} from training_job where account_id = $1
    order by created_at desc, id desc limit $2 offset $3
"""
REPORT = f"""
    select {DETAILS}, eval_samples, comparisons, baseline_adapter_id is not null as had_baseline
    from training_job where account_id = $1 and id = $2
"""

LOCK = f"""
    select {DETAILS}, sample_ids, baseline_adapter_id, eval_samples
    from training_job where account_id = $1 and id = $2 for update
"""
# An open job of which the last news were good is looked at when no more come.
ADVANCE = f"""
    update training_job set status = $3::varchar, progress = $4, epoch = $5, step = $6, total_steps = $7, loss = $8, eval_samples = $9,
        history = $10, peak_memory_mib = coalesce($12, peak_memory_mib),
        started_at = coalesce(started_at, $11, case when $3::varchar <> 'queued' then now() end), heard_at = now(),
        look_at = now() + interval '60 seconds'
    where account_id = $1 and id = $2
    returning {DETAILS}
"""
HEARD = "update training_job set heard_at = now(), look_at = now() + interval '60 seconds' where account_id = $1 and id = $2"
END = f"""
    update training_job set status = $3, progress = $4, error = $5, eval_loss = $6, baseline_eval_loss = $7, comparisons = $8,
        activated = $9, activation_note = $10, adapter_id = $11, completed_at = now(), heard_at = now(), look_at = null
    where account_id = $1 and id = $2
    returning {DETAILS}
"""
# What the ML service has of it is ended by the reconciler, which looks at it now.
CLOSE = f"""
    update training_job set status = $3, error = $4, completed_at = now(), look_at = now()
    where account_id = $1 and id = $2 and {_OPEN}
"""
CLOSE_OF_DEVICE = f"""
    update training_job set status = 'cancelled', error = $3, completed_at = now(), look_at = now()
    where account_id = $1 and device_id = $2 and {_OPEN}
"""
SETTLE = "update training_job set look_at = null where account_id = $1 and id = $2"
TRAINED = """
    select coalesce(sum(extract(epoch from coalesce(completed_at, now()) - greatest(started_at, now() - interval '1 day'))), 0) as seconds,
           coalesce(extract(epoch from min(started_at) + interval '1 day' - now()), 0) as seconds_left
    from training_job where account_id = $1 and coalesce(completed_at, now()) > now() - interval '1 day' and started_at is not null
"""
COUNT_ADAPTERS = f"""
    select (select count(*) from adapter where account_id = $1) + (select count(*) from training_job where account_id = $1 and {_OPEN})
"""
THERE = "select id from sample where account_id = $1 and id = any ($2)"

# For all accounts: what nobody asked about comes to whichever gateway gets to it first.
TAKE_DUE = f"""
    update training_job set attempts = attempts + 1,
        look_at = now() + greatest(interval '10 seconds', least((now() - heard_at) / 2, interval '60 seconds'))
    where id in (
        select id from training_job where look_at <= now() order by look_at limit $1 for update skip locked
    )
    returning account_id, id, attempts, {_OPEN} as open, heard_at
"""
WENT_WELL = "update training_job set attempts = 0 where account_id = $1 and id = $2 and attempts > 0"
COUNT_BY_STATUS = "select status, count(*) from training_job group by status"


async def start(
    db: Db,
    account_id: UUID,
    job_id: UUID,
    *,
    device_id: UUID,
    base_model: str,
    method: str,
    epochs: int,
    learning_rate: float,
    sample_ids: Sequence[UUID],
    created_at: datetime,
) -> Record | None:
    """Store a job that waits for its turn; None when the device has one that runs, or was deactivated. With `baseline_adapter_id`."""
    return await db.fetchrow(START, account_id, job_id, device_id, base_model, method, epochs, learning_rate, sample_ids, created_at)


async def running(db: Db, account_id: UUID, device_id: UUID) -> UUID | None:
    """The device's job that has not ended."""
    job_id: UUID | None = await db.fetchval(RUNNING, account_id, device_id)
    return job_id


async def discard(db: Db, account_id: UUID, job_id: UUID) -> None:
    """Remove a job that turned out to be impossible."""
    await db.execute(DISCARD, account_id, job_id)


async def find(db: Db, account_id: UUID, job_id: UUID) -> Record | None:
    return await db.fetchrow(FIND, account_id, job_id)


async def count(db: Db, account_id: UUID) -> int:
    return int(await db.fetchval(COUNT, account_id))


async def page(db: Db, account_id: UUID, limit: int, offset: int) -> list[Record]:
    return list(await db.fetch(PAGE, account_id, limit, offset))


async def report(db: Db, account_id: UUID, job_id: UUID) -> Record | None:
    """A job with what its page shows beside: how many replies were held out, and the comparisons."""
    return await db.fetchrow(REPORT, account_id, job_id)


async def lock(db: Db, account_id: UUID, job_id: UUID) -> Record | None:
    """A job with its samples and its baseline; nobody else changes it before the transaction ends."""
    return await db.fetchrow(LOCK, account_id, job_id)


async def advance(db: Db, account_id: UUID, job_id: UUID, state: TrainingState, history: Sequence[LossPoint]) -> Record:
    """Note how far a job is that the caller holds."""
    row = await db.fetchrow(
        ADVANCE, account_id, job_id, state.status, state.progress, state.epoch, state.step, state.total_steps, state.loss,
        state.eval_samples, history, state.started_at, state.peak_memory_mib,
    )  # fmt: skip
    assert row is not None
    return row


async def heard(db: Db, account_id: UUID, job_id: UUID) -> None:
    """Note that the ML service said something of a job."""
    await db.execute(HEARD, account_id, job_id)


async def end(
    db: Db,
    account_id: UUID,
    job_id: UUID,
    *,
    status: str,
    progress: float,
    error: str | None = None,
    eval_loss: float | None = None,
    baseline_eval_loss: float | None = None,
    comparisons: Sequence[DraftComparison] = (),
    activated: bool | None = None,
    activation_note: str | None = None,
    adapter_id: UUID | None = None,
) -> Record:
    """End a job that the caller holds, and that has ended in the ML service."""
    row = await db.fetchrow(
        END, account_id, job_id, status, progress, error, eval_loss, baseline_eval_loss, comparisons, activated, activation_note, adapter_id
    )
    assert row is not None
    return row


async def close(db: Db, account_id: UUID, job_id: UUID, status: str, error: str | None) -> None:
    """End an unfinished job that the ML service may still have."""
    await db.execute(CLOSE, account_id, job_id, status, error)


async def close_of_device(db: Db, account_id: UUID, device_id: UUID, error: str) -> None:
    """Cancel the device's unfinished job, if it has one."""
    await db.execute(CLOSE_OF_DEVICE, account_id, device_id, error)


async def trained(db: Db, account_id: UUID) -> tuple[float, float]:
    """Seconds that the account's trainings have run within the last 24 hours, and seconds until some of them are longer ago."""
    row = await db.fetchrow(TRAINED, account_id)
    assert row is not None
    return float(row["seconds"]), float(row["seconds_left"])


async def count_adapters(db: Db, account_id: UUID) -> int:
    """Those that are there, and those that may come of trainings that have not ended."""
    return int(await db.fetchval(COUNT_ADAPTERS, account_id))


async def settle(db: Db, account_id: UUID, job_id: UUID) -> None:
    """Note that the ML service has no open job of this id."""
    await db.execute(SETTLE, account_id, job_id)


async def there(db: Db, account_id: UUID, sample_ids: Sequence[UUID]) -> list[UUID]:
    """Those of the samples that have not been deleted."""
    return [row["id"] for row in await db.fetch(THERE, account_id, sample_ids)]


async def take_due(db: Db, limit: int) -> list[Record]:
    """Jobs of which nothing was heard for long, or that nobody wants any more; no other gateway gets them now."""
    return list(await db.fetch(TAKE_DUE, limit))


async def went_well(db: Db, account_id: UUID, job_id: UUID) -> None:
    """Note that the job was not looked at in vain."""
    await db.execute(WENT_WELL, account_id, job_id)


async def count_by_status(db: Db) -> dict[str, int]:
    """Over all accounts."""
    return {row["status"]: row["count"] for row in await db.fetch(COUNT_BY_STATUS)}
