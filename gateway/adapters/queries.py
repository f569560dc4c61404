from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from gateway.adapters.schemas import Adapter, TrainedAdapter
from gateway.database import Db

# It does not keep others from storing rows of the account: a foreign key asks for less.
HOLD_ACCOUNT = "select true from account where id = $1 for no key update"
DETAILS = "id, id as job_id, base_model, eval_loss, baseline_eval_loss, active, stale, created_at"
LIST = f"select {DETAILS} from adapter where account_id = $1 order by created_at desc, id desc"
FIND = f"select {DETAILS} from adapter where account_id = $1 and id = $2"
FIND_ACTIVE = f"select {DETAILS} from adapter where account_id = $1 and active"
ADD = """
    insert into adapter (account_id, id, base_model, sample_ids, eval_loss, baseline_eval_loss, active, stale, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, now())
"""
DEACTIVATE = f"update adapter set active = false where account_id = $1 and active returning {DETAILS}"
ACTIVATE = f"update adapter set active = true where account_id = $1 and id = $2 returning {DETAILS}"
DELETE = "delete from adapter where account_id = $1 and id = $2 returning id"
MARK_STALE = "update adapter set stale = true where account_id = $1 and sample_ids && $2 returning id, active"
COUNT_ACTIVE = "select count(*) from adapter where active"


async def hold_account(db: Db, account_id: UUID) -> None:
    """Keep others from changing which adapter is active, or how many there are, before the transaction ends."""
    await db.execute(HOLD_ACCOUNT, account_id)


async def list_all(db: Db, account_id: UUID) -> list[Adapter]:
    """Newest first."""
    return [_adapter(row) for row in await db.fetch(LIST, account_id)]


async def find(db: Db, account_id: UUID, adapter_id: UUID) -> Adapter | None:
    return _maybe_adapter(await db.fetchrow(FIND, account_id, adapter_id))


async def active_adapter(db: Db, account_id: UUID) -> Adapter | None:
    """The adapter that drafts are written with."""
    return _maybe_adapter(await db.fetchrow(FIND_ACTIVE, account_id))


async def add(db: Db, account_id: UUID, new: TrainedAdapter, *, active: bool) -> None:
    """Store an adapter. If it is to be the active one, no other may be."""
    await db.execute(
        ADD, account_id, new.id, new.base_model, new.sample_ids, new.eval_loss, new.baseline_eval_loss, active, new.stale
    )  # fmt: skip


async def deactivate(db: Db, account_id: UUID) -> Adapter | None:
    """Let no adapter be active; the one that was."""
    return _maybe_adapter(await db.fetchrow(DEACTIVATE, account_id))


async def activate(db: Db, account_id: UUID, adapter_id: UUID) -> Adapter | None:
    """Let this one be active, where none is; None when there is no such adapter."""
    return _maybe_adapter(await db.fetchrow(ACTIVATE, account_id, adapter_id))


async def delete(db: Db, account_id: UUID, adapter_id: UUID) -> bool:
    """Remove an adapter; False when there is no such adapter."""
    return await db.fetchval(DELETE, account_id, adapter_id) is not None


async def mark_stale(db: Db, account_id: UUID, sample_ids: Sequence[UUID]) -> UUID | None:
    """Note that these samples go in all adapters that were trained with them; the active adapter, if it is one of these."""
    rows = await db.fetch(MARK_STALE, account_id, sample_ids)
    return next((row["id"] for row in rows if row["active"]), None)


async def count_active(db: Db) -> int:
    """Adapters in use, over all accounts."""
    return int(await db.fetchval(COUNT_ACTIVE))


def _adapter(row: Record) -> Adapter:
    """As it is stored: only the ML service knows its `status`."""
    return Adapter(**row, status="unknown")


def _maybe_adapter(row: Record | None) -> Adapter | None:
    return None if row is None else _adapter(row)
