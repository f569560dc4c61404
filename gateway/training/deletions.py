"""What the ML service still has to forget. The order is stored with what makes it necessary, and is carried out however long that takes."""

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from gateway.database import Database, Db
from gateway.ml_client import MlClient
from shared.contracts.service import ForgetRequest
from shared.ids import new_id

ORDER = """
    insert into deletion_order (account_id, id, job_ids, training_ids, adapter_ids, everything, created_at, look_at)
    values ($1, $2, $3, $4, $5, $6, now(), now())
"""
# For all accounts, also those that are gone: whichever gateway gets to it first.
TAKE_DUE = """
    update deletion_order set attempts = attempts + 1,
        look_at = now() + greatest(interval '10 seconds', least((now() - created_at) / 2, interval '10 minutes'))
    where id in (select id from deletion_order where look_at <= now() order by look_at limit $1 for update skip locked)
    returning account_id, id, job_ids, training_ids, adapter_ids, everything, attempts
"""
WENT_WELL = "update deletion_order set attempts = 0 where account_id = $1 and id = $2 and attempts > 0"
PUT_OFF = "update deletion_order set look_at = now() + interval '1 day' where account_id = $1 and id = $2"
DONE = "delete from deletion_order where account_id = $1 and id = $2"


async def order(
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
    await db.execute(ORDER, account_id, new_id(), job_ids, training_ids, adapter_ids, everything)


async def take_due(db: Db, limit: int) -> list[Record]:
    """Orders that are to be carried out now; no other gateway gets them meanwhile."""
    return list(await db.fetch(TAKE_DUE, limit))


class Deletions:
    """Carries the orders out."""

    def __init__(self, database: Database, ml: MlClient) -> None:
        self._database = database
        self._ml = ml

    async def look(self, row: Record) -> None:
        """Carry out an order of `take_due`.

        Raises:
            Unavailable: the ML service or the database is away; the order stays.
        """
        wanted = ForgetRequest(
            scope=str(row["account_id"]),
            job_ids=[str(each) for each in row["job_ids"]],
            training_ids=[str(each) for each in row["training_ids"]],
            adapter_ids=[str(each) for each in row["adapter_ids"]],
            extent="everything" if row["everything"] else "these",
        )
        if await self._ml.forget(wanted):
            async with self._database.connection() as db:
                await db.execute(DONE, row["account_id"], row["id"])

    async def went_well(self, row: Record) -> None:
        async with self._database.connection() as db:
            await db.execute(WENT_WELL, row["account_id"], row["id"])

    async def give_up(self, row: Record) -> None:
        """What somebody wanted deleted is not forgotten: it is tried again each day, and the log says that it failed."""
        async with self._database.connection() as db:
            await db.execute(PUT_OFF, row["account_id"], row["id"])
