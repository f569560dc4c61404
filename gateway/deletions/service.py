"""What the ML service still has to forget. The order is stored with what makes it necessary, and is carried out however long that takes."""

from asyncpg import Record

from gateway.database import Database
from gateway.deletions import queries

# Whoever deletes gives the order inside its own transaction.
from gateway.deletions.queries import order_deletion as order_deletion
from gateway.ml_client import MlClient
from shared.contracts.service import ForgetRequest


class Deletions:
    """Carries the orders out."""

    def __init__(self, database: Database, ml: MlClient) -> None:
        self._database = database
        self._ml = ml

    async def reconcile(self, row: Record) -> None:
        """Carry out an order of `queries.DUE`.

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
                await queries.remove(db, row["account_id"], row["id"])

    async def give_up(self, row: Record) -> None:
        """What somebody wanted deleted is not forgotten: it is tried again each day, and the log says that it failed."""
        async with self._database.connection() as db:
            await queries.put_off(db, row["account_id"], row["id"])
