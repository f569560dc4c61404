from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec
from asyncpg import Record

from gateway.adapters import queries as adapter_queries
from gateway.adapters.queries import Learnt
from gateway.database import Database, Db
from gateway.deletions.service import order_deletion
from gateway.errors import NotFound
from gateway.idempotency import queries as idempotency
from gateway.samples import queries
from gateway.samples.schemas import Sample, SamplePage, SampleSource
from gateway.wire import utc_now
from shared.contracts.generation import Turn
from shared.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSample:
    """A sample to be: what the owner did with a draft, and the prompt it was drafted from."""

    source: SampleSource
    conversation_id: UUID
    response_id: UUID
    turns: Sequence[Turn]
    message_ids: Sequence[UUID]
    output: str | None = None
    rejected_output: str | None = None


class SampleService:
    """What an account teaches its assistant with."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, db: Db, account_id: UUID, sample: NewSample) -> UUID:
        """Store a sample inside the caller's transaction.

        A sample without an output has quality 0: it says only what not to write.
        """
        sample_id = new_id()
        await queries.add(
            db,
            account_id,
            sample_id,
            conversation_id=sample.conversation_id,
            response_id=sample.response_id,
            source=sample.source,
            turns=sample.turns,
            message_ids=sample.message_ids,
            answered_id=sample.message_ids[-1],
            output=sample.output,
            rejected_output=sample.rejected_output,
            quality=0.0 if sample.output is None else 1.0,
            created_at=utc_now(),
        )
        return sample_id

    async def forget(self, db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID]) -> Learnt:
        """Remove, inside the caller's transaction, a conversation's samples that have the text of any of these messages."""
        gone = await queries.forget(db, account_id, conversation_id, message_ids)
        return await adapter_queries.mark_stale(db, account_id, gone)

    async def forget_conversation(self, db: Db, account_id: UUID, conversation_id: UUID) -> Learnt:
        """Remove, inside the transaction that deletes a conversation, the samples that came from it."""
        gone = await queries.forget_conversation(db, account_id, conversation_id)
        return await adapter_queries.mark_stale(db, account_id, gone)

    async def conversation_merged(self, db: Db, account_id: UUID, gone: UUID, into: UUID) -> None:
        """Move, inside the transaction that merges conversations, the samples of one to the other."""
        await queries.move(db, account_id, gone, into)

    async def list(self, account_id: UUID, page: int, page_size: int) -> SamplePage:
        async with self._database.connection() as db:
            total = await queries.count(db, account_id)
            rows = await queries.page(db, account_id, page_size, (page - 1) * page_size)
        return SamplePage(samples=[_sample(row) for row in rows], total=total, page=page, page_size=page_size)

    async def delete(self, account_id: UUID, sample_id: UUID) -> None:
        """Remove a sample; adapters that were trained with it are stale from now on.

        Raises:
            NotFound: no such sample, or another account's.
        """
        async with self._database.transaction() as db:
            deleted = await queries.delete(db, account_id, sample_id)
            if deleted:
                learnt = await adapter_queries.mark_stale(db, account_id, [sample_id])
                await order_deletion(db, account_id, training_ids=learnt.training_ids)
                await idempotency.forget(db, str(account_id))
        if not deleted:
            raise NotFound("There is no sample with this id")


def _sample(row: Record) -> Sample:
    turns = msgspec.convert(row["messages"], list[Turn])
    return Sample(**{**row, "messages": turns, "input": _answered(turns)})


def _answered(turns: Sequence[Turn]) -> str:
    """The text that was answered: the prompt ends with it."""
    return next((turn.content for turn in reversed(turns) if turn.role == "user"), "")
