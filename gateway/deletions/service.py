"""What the ML service still has to forget. The order is stored with what makes it necessary, and is carried out however long that takes."""

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from gateway.database import Database, Db
from gateway.deletions import queries
from gateway.ml_client import MlClient
from shared.contracts.service import ForgetRequest


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
    await queries.add(db, account_id, job_ids=job_ids, training_ids=training_ids, adapter_ids=adapter_ids, everything=everything)


class Deletions:
    """Carries the orders out."""

    def __init__(self, database: Database, ml: MlClient) -> None:
        self._database = database
        self._ml = ml

    async def reconcile(self, row: Record) -> None:
        """Carry out an order of `queries.take_due`.

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

    async def reset_attempts(self, row: Record) -> None:
        async with self._database.connection() as db:
            await queries.went_well(db, row["account_id"], row["id"])

    async def give_up(self, row: Record) -> None:
        """What somebody wanted deleted is not forgotten: it is tried again each day, and the log says that it failed."""
        async with self._database.connection() as db:
            await queries.put_off(db, row["account_id"], row["id"])
