from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from gateway.adapters.service import mark_stale
from gateway.database import Database, Db
from gateway.deletions.service import order_deletion
from gateway.idempotency.service import forget_answers
from gateway.samples import queries
from gateway.samples.queries import SampleRow

# Trainings use these inside their own transactions.
from gateway.samples.queries import existing as existing
from gateway.samples.queries import taught as taught
from gateway.samples.schemas import SamplePage, SampleSource
from gateway.wire import utc_now
from shared.contracts.generation import Turn
from shared.errors import NotFound
from shared.ids import new_id


class NewSample(Struct, frozen=True, kw_only=True):
    """A sample to be: what the owner did with a draft, and the prompt it was drafted from."""

    source: SampleSource
    conversation_id: UUID
    response_id: UUID
    turns: Sequence[Turn]
    message_ids: Sequence[UUID]
    output: str | None = None
    rejected_output: str | None = None


class FollowsSamples(Protocol):
    """Somebody who keeps what came of samples."""

    async def samples_deleted(self, db: Db, account_id: UUID, sample_ids: Sequence[UUID]) -> None:
        """Remove, inside the transaction that deletes them, what came of these samples."""
        ...


class SampleService:
    """What an account teaches its assistant with."""

    def __init__(self, database: Database, followers: Sequence[FollowsSamples]) -> None:
        self._database = database
        self._followers = followers

    async def record(self, db: Db, account_id: UUID, sample: NewSample) -> UUID:
        """Store a sample inside the caller's transaction.

        A sample without an output has quality 0: it says only what not to write.
        """
        now = utc_now()
        row = SampleRow(
            id=new_id(),
            source=sample.source,
            conversation_id=sample.conversation_id,
            response_id=sample.response_id,
            messages=sample.turns,
            message_ids=sample.message_ids,
            answered_id=sample.message_ids[-1],
            output=sample.output,
            rejected_output=sample.rejected_output,
            quality=0.0 if sample.output is None else 1.0,
            replied_at=now,
        )
        await queries.add(db, account_id, [row], now)
        return row.id

    async def forget(self, db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID]) -> UUID | None:
        """Remove, inside the caller's transaction, a conversation's samples that have the text of any of these messages.

        Returns:
            The account's active adapter, if it was trained with one of them.
        """
        return await self._deleted(db, account_id, await queries.forget(db, account_id, conversation_id, message_ids))

    async def forget_conversation(self, db: Db, account_id: UUID, conversation_id: UUID) -> None:
        """Remove, inside the transaction that deletes a conversation, the samples that came from it."""
        await self._deleted(db, account_id, await queries.forget_conversation(db, account_id, conversation_id))

    async def conversation_merged(self, db: Db, account_id: UUID, gone: UUID, into: UUID) -> None:
        """Move, inside the transaction that merges conversations, the samples of one to the other."""
        await queries.move(db, account_id, gone, into)

    async def list(self, account_id: UUID, page: int, page_size: int) -> SamplePage:
        async with self._database.connection() as db:
            total = await queries.count(db, account_id)
            samples = await queries.page(db, account_id, page_size, (page - 1) * page_size)
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
        for follower in self._followers:  # first: a training that ends takes its job and then its adapter, too
            await follower.samples_deleted(db, account_id, sample_ids)
        return await mark_stale(db, account_id, sample_ids)
