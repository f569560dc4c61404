"""SQL of deletion orders."""

from collections.abc import Sequence
from uuid import UUID

from gateway.background.due_rows import DueRows
from gateway.database import Db
from shared.ids import new_id

ADD = """
    insert into deletion_order (account_id, id, job_ids, training_ids, adapter_ids, everything, created_at, look_at)
    values ($1, $2, $3, $4, $5, $6, now(), now())
"""
# Also of accounts that are gone.
DUE = DueRows("deletion_order", since="created_at", most="10 minutes", returning="job_ids, training_ids, adapter_ids, everything")
PUT_OFF = "update deletion_order set look_at = now() + interval '1 day' where account_id = $1 and id = $2"
REMOVE = "delete from deletion_order where account_id = $1 and id = $2"


async def order_deletion(
    db: Db,
    account_id: UUID,
    *,
    job_ids: Sequence[UUID] = (),
    training_ids: Sequence[UUID] = (),
    adapter_ids: Sequence[UUID] = (),
    everything: bool = False,
) -> None:
    """Inside the caller's transaction: of an account all cached drafts go, and these, or everything.

    Args:
        job_ids: queued drafts, with what they were asked and what they answered.
        training_ids: trainings, when they have ended.
        adapter_ids: adapters; one that is only being made is not made.
    """
    await db.execute(ADD, account_id, new_id(), job_ids, training_ids, adapter_ids, everything)


async def put_off(db: Db, account_id: UUID, order_id: UUID) -> None:
    """Try the order again in a day."""
    await db.execute(PUT_OFF, account_id, order_id)


async def remove(db: Db, account_id: UUID, order_id: UUID) -> None:
    """Forget an order that was carried out."""
    await db.execute(REMOVE, account_id, order_id)
