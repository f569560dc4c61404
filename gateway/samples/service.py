from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias
from uuid import UUID

from gateway.adapters.service import mark_stale
from gateway.database import Database, Db
from gateway.deletions.service import order_deletion
from gateway.idempotency.service import forget_answers
from gateway.samples import queries

# What the owner does with drafts, and trainings, use these inside their own transactions.
from gateway.samples.queries import SampleRow as SampleRow
from gateway.samples.queries import existing as existing
from gateway.samples.queries import taught as taught
from gateway.samples.schemas import SamplePage, SampleSource
from shared.errors import NotFound

SamplesDeleted: TypeAlias = Callable[[Db, UUID, Sequence[UUID]], Awaitable[None]]
"""Removes, inside the transaction that deletes samples of an account, what came of these samples."""


class SampleService:
    """What an account teaches its assistant with."""

    def __init__(self, database: Database, samples_deleted: SamplesDeleted) -> None:
        self._database = database
        self._samples_deleted = samples_deleted

    async def record(self, db: Db, account_id: UUID, sample: SampleRow) -> UUID:
        """Store a sample inside the caller's transaction."""
        await queries.add(db, account_id, [sample], sample.replied_at)
        return sample.id

    async def forget(self, db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID] | None = None) -> UUID | None:
        """Remove, inside the caller's transaction, a conversation's samples that have the text of any of these messages, by default all.

        Returns:
            The account's active adapter, if it was trained with one of them.
        """
        return await self._deleted(db, account_id, await queries.forget(db, account_id, conversation_id, message_ids))

    async def conversation_merged(self, db: Db, account_id: UUID, gone: UUID, into: UUID) -> None:
        """Move, inside the transaction that merges conversations, the samples of one to the other."""
        await queries.move(db, account_id, gone, into)

    async def list(self, account_id: UUID, source: SampleSource | None, page: int, page_size: int) -> SamplePage:
        async with self._database.connection() as db:
            total = await queries.count(db, account_id, source)
            samples = await queries.page(db, account_id, source, page_size, (page - 1) * page_size)
        return SamplePage(samples=samples, total=total, page=page, page_size=page_size)

    async def delete(self, account_id: UUID, sample_id: UUID) -> None:
        """Remove a sample; adapters that were trained with it are stale from now on.

        Raises:
            NotFound: no such sample, or another account's.
        """
        async with self._database.transaction() as db:
            deleted = await queries.delete(db, account_id, sample_id)
            if not deleted:
                raise NotFound("There is no sample with this id")
            await self._deleted(db, account_id, deleted)
            await order_deletion(db, account_id)
            await forget_answers(db, account_id)

    async def _deleted(self, db: Db, account_id: UUID, sample_ids: Sequence[UUID]) -> UUID | None:
        """See to what came of samples that are gone; the active adapter, if it was trained with one of them."""
        if not sample_ids:
            return None
        await self._samples_deleted(db, account_id, sample_ids)  # first: a training that ends takes its job and then its adapter, too
        return await mark_stale(db, account_id, sample_ids)
