"""SQL of adapters. Who changes which one is active holds the account (`hold_account`), so that such changes take turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from gateway.database import Db

ACTIVE = "(select adapter.id from adapter where adapter.account_id = $1 and adapter.active)"
"""The account's active adapter, or null: a part of other statements, whose $1 is the account."""

# It does not keep others from storing rows of the account: a foreign key asks for less.
HOLD_ACCOUNT = "select true from account where id = $1 for no key update"
DETAILS = "id, job_id, base_model, eval_loss, baseline_eval_loss, active, stale, created_at"
LIST = f"select {DETAILS} from adapter where account_id = $1 order by created_at desc, id desc"
FIND = f"select {DETAILS} from adapter where account_id = $1 and id = $2"
ADD = """
    insert into adapter (account_id, id, job_id, base_model, sample_ids, eval_loss, baseline_eval_loss, active, stale, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
FIND_ACTIVE = "select id, base_model from adapter where account_id = $1 and active"
DEACTIVATE = f"update adapter set active = false where account_id = $1 and active returning {DETAILS}"
ACTIVATE = f"update adapter set active = true where account_id = $1 and id = $2 returning {DETAILS}"
DELETE = "delete from adapter where account_id = $1 and id = $2 returning id"
FORGET_IN_JOB = "update training_job set adapter_id = null where account_id = $1 and adapter_id = $2"
MARK_STALE = "update adapter set stale = true where account_id = $1 and sample_ids && $2 returning id, active"
# All jobs that learn from these, also those that have nothing to forget yet: a job that is just ending waits here, and then finds the
# samples gone.
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
COUNT_ACTIVE = "select count(*) from adapter where active"


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """Where samples that go were learnt: in which trainings, and whether the account's active adapter is from one of them."""

    training_ids: list[UUID]
    active_adapter_id: UUID | None


async def hold_account(db: Db, account_id: UUID) -> bool:
    """Keep others from changing which adapter is active before the transaction ends; False when the account is gone."""
    return bool(await db.fetchval(HOLD_ACCOUNT, account_id))


async def all_of(db: Db, account_id: UUID) -> list[Record]:
    """Newest first."""
    return list(await db.fetch(LIST, account_id))


async def find(db: Db, account_id: UUID, adapter_id: UUID) -> Record | None:
    return await db.fetchrow(FIND, account_id, adapter_id)


async def active(db: Db, account_id: UUID) -> Record | None:
    """The id and the base model of the active adapter."""
    return await db.fetchrow(FIND_ACTIVE, account_id)


async def add(
    db: Db,
    account_id: UUID,
    adapter_id: UUID,
    *,
    base_model: str,
    sample_ids: Sequence[UUID],
    eval_loss: float,
    baseline_eval_loss: float,
    active: bool,
    stale: bool,
    created_at: datetime,
) -> None:
    """Store an adapter, whose job has the same id. If it is to be the active one, no other may be."""
    await db.execute(
        ADD, account_id, adapter_id, adapter_id, base_model, sample_ids, eval_loss, baseline_eval_loss, active, stale, created_at
    )


async def deactivate(db: Db, account_id: UUID) -> Record | None:
    """Let no adapter be active; the one that was."""
    return await db.fetchrow(DEACTIVATE, account_id)


async def activate(db: Db, account_id: UUID, adapter_id: UUID) -> Record | None:
    """Let this one be active, where none is."""
    return await db.fetchrow(ACTIVATE, account_id, adapter_id)


async def delete(db: Db, account_id: UUID, adapter_id: UUID) -> bool:
    """Remove an adapter; its job then has none. False when there is no such adapter."""
    await db.execute(FORGET_IN_JOB, account_id, adapter_id)  # first: `mark_stale` takes them in this order, too
    return await db.fetchval(DELETE, account_id, adapter_id) is not None


async def mark_stale(db: Db, account_id: UUID, sample_ids: Sequence[UUID]) -> Learnt:
    """Note, inside the caller's transaction, that these samples go: adapters that were trained with them say so from now on, and what was
    kept of them with training jobs goes with them.
    """
    if not sample_ids:
        return Learnt(training_ids=[], active_adapter_id=None)
    jobs = await db.fetch(FORGET_COMPARISONS, account_id, sample_ids)
    adapters = await db.fetch(MARK_STALE, account_id, sample_ids)
    return Learnt(training_ids=[row["id"] for row in jobs], active_adapter_id=next((row["id"] for row in adapters if row["active"]), None))


async def count_active(db: Db) -> int:
    """Over all accounts."""
    return int(await db.fetchval(COUNT_ACTIVE))
