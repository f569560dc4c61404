"""What the ML service still has to delete. The order is stored with what makes it necessary, and is carried out however long that takes."""

from uuid import UUID

from asyncpg import Record

from gateway.database import Database, Db
from gateway.ml_client import MlClient
from shared.ids import new_id

# One adapter is ordered away once at a time; an account's order has an id of its own.
ORDER = """
    insert into file_deletion (account_id, id, adapter_id, created_at, look_at) values ($1, $2, $3, now(), now())
    on conflict (id) do nothing
"""
# For all accounts, also those that are gone: whichever gateway gets to it first.
TAKE_DUE = """
    update file_deletion set look_at = now() + greatest(interval '10 seconds', least((now() - created_at) / 2, interval '10 minutes'))
    where id in (select id from file_deletion where look_at <= now() order by look_at limit $1 for update skip locked)
    returning account_id, id, adapter_id
"""
DONE = "delete from file_deletion where account_id = $1 and id = $2"


async def order_adapter(db: Db, account_id: UUID, adapter_id: UUID) -> None:
    """Inside the caller's transaction: the files of an adapter go, and if it is only being made its training is ended first."""
    await db.execute(ORDER, account_id, adapter_id, adapter_id)


async def order_all(db: Db, account_id: UUID) -> None:
    """Inside the caller's transaction: all that the ML service has of an account goes, jobs and adapters."""
    await db.execute(ORDER, account_id, new_id(), None)


async def take_due(db: Db, limit: int) -> list[Record]:
    """Orders that are to be carried out now; no other gateway gets them meanwhile."""
    return list(await db.fetch(TAKE_DUE, limit))


class FileDeletions:
    """Carries the orders out."""

    def __init__(self, database: Database, ml: MlClient) -> None:
        self._database = database
        self._ml = ml

    async def look(self, row: Record) -> None:
        """Carry out an order of `take_due`.

        Raises:
            Unavailable: the ML service or the database is away; the order stays.
        """
        account_id, adapter_id = row["account_id"], row["adapter_id"]
        if adapter_id is None:
            await self._ml.delete_jobs(account_id)  # first: a training that runs would bring another adapter
            await self._ml.delete_adapters(account_id)
        else:
            await self._ml.cancel_training(adapter_id)
            await self._ml.delete_adapter(account_id, adapter_id)
        async with self._database.connection() as db:
            await db.execute(DONE, account_id, row["id"])
