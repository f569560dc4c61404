from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record
from msgspec import Struct

from gateway.database import Db
from shared.contracts.generation import Turn


class HistorySample(Struct, frozen=True, kw_only=True):
    """A past reply as a row: what was answered and what the owner wrote."""

    id: UUID
    conversation_id: UUID
    messages: Sequence[Turn]
    message_ids: Sequence[UUID]
    answered_id: UUID
    reply_id: UUID
    output: str
    replied_at: datetime


# A row may have megabytes of text.
_BATCH_ROWS = 50
_SIZE = "500 + octet_length(messages::text) + coalesce(octet_length(output), 0) + coalesce(octet_length(rejected_output), 0) as size"
# What an account's samples take is counted in its row, as they come and go (`limits.queries`).
_COUNT_ADDED = """
    counted as (
        update account set sample_bytes = sample_bytes + (select sum(size) from added) where id = $1 and exists (select from added)
    )
"""
_COUNT_GONE = """
    counted as (
        update account set sample_bytes = greatest(sample_bytes - (select sum(size) from gone), 0)
        where id = $1 and exists (select from gone)
    )
"""
ADD = f"""
    with added as (
        insert into sample
            (account_id, id, conversation_id, response_id, source, messages, message_ids, answered_id, output, rejected_output, quality,
             replied_at, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
        returning {_SIZE}
    ), {_COUNT_ADDED}
    select from added
"""
# In the order of the replies, so that two imports at once wait for each other in one direction only.
ADD_HISTORY = f"""
    with added as (
        insert into sample
            (account_id, id, conversation_id, source, messages, message_ids, answered_id, reply_id, output, quality, replied_at, created_at)
        select $1, id, conversation_id, 'history', messages, message_ids, answered_id, reply_id, output, $3, replied_at, $4
        from jsonb_to_recordset($2) as sent (
            id uuid, conversation_id uuid, messages jsonb, message_ids uuid[], answered_id uuid, reply_id uuid, output text,
            replied_at timestamptz
        )
        order by reply_id
        on conflict on constraint sample_reply do nothing
        returning {_SIZE}
    ), {_COUNT_ADDED}
    select count(*) from added
"""
KNOWN_REPLIES = "select reply_id from sample where account_id = $1 and reply_id = any($2::uuid[])"
COUNT = "select count(*) from sample where account_id = $1"
PAGE = """
    select id, source, messages, output, rejected_output, quality, conversation_id, response_id, replied_at, created_at
    from sample where account_id = $1
    order by created_at desc, id desc limit $2 offset $3
"""


def _delete(which: str) -> str:
    return f"""
        with gone as (delete from sample where account_id = $1 and {which} returning id, {_SIZE}), {_COUNT_GONE}
        select id from gone
    """


DELETE = _delete("id = $2")
FORGET = _delete("conversation_id = $2 and message_ids && $3")
FORGET_CONVERSATION = _delete("conversation_id = $2")

MOVE = "update sample set conversation_id = $3 where account_id = $1 and conversation_id = $2"

COUNT_KNOWN = "select count(*) from sample where account_id = $1 and id = any($2)"
# Outputs that say nothing are left out by who reads these: there is one rule for that, and SQL has no part in it.
_TAUGHT = """
    account_id = $1 and quality > 0 and output is not null and messages <> '[]'
    and ($2::uuid[] is null or id = any($2))
"""
OUTPUTS = f"""
    select id, conversation_id, source, messages, output, quality, replied_at from sample where {_TAUGHT}
    order by replied_at desc, id desc limit $3
"""
# What the owner said instead of a draft: of the same draft (an edit), or of another one to the same message.
PREFERENCES = f"""
    with chosen as (
        select id, answered_id, source, messages, output, rejected_output, quality, replied_at from sample where {_TAUGHT}
    ), refused as (
        select id, answered_id, rejected_output from sample
        where account_id = $1 and source = 'reject' and rejected_output is not null and ($2::uuid[] is null or id = any($2))
    ), pair as (
        select *, id as rejected_id from chosen where rejected_output is not null
        union all
        select chosen.id, answered_id, source, messages, output, refused.rejected_output, quality, replied_at, refused.id
        from chosen join refused using (answered_id)
    )
    select * from pair order by replied_at desc, id desc, rejected_id desc limit $3
"""


async def add(
    db: Db,
    account_id: UUID,
    sample_id: UUID,
    *,
    conversation_id: UUID,
    response_id: UUID | None,
    source: str,
    turns: Sequence[Turn],
    message_ids: Sequence[UUID],
    answered_id: UUID,
    output: str | None,
    rejected_output: str | None,
    quality: float,
    created_at: datetime,
) -> None:
    """Store what became of a draft at `created_at`, which is also when its output was said."""
    await db.execute(
        ADD,
        account_id,
        sample_id,
        conversation_id,
        response_id,
        source,
        turns,
        message_ids,
        answered_id,
        output,
        rejected_output,
        quality,
        created_at,
    )


async def add_history(db: Db, account_id: UUID, samples: Sequence[HistorySample], quality: float, created_at: datetime) -> int:
    """Store samples of past replies, except those that are there; returns how many are new."""
    return int(await db.fetchval(ADD_HISTORY, account_id, samples, quality, created_at)) if samples else 0


async def known_replies(db: Db, account_id: UUID, reply_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the messages that a sample's reply begins with."""
    return {row["reply_id"] for row in await db.fetch(KNOWN_REPLIES, account_id, reply_ids)}


async def count(db: Db, account_id: UUID) -> int:
    return int(await db.fetchval(COUNT, account_id))


async def page(db: Db, account_id: UUID, limit: int, offset: int) -> list[Record]:
    return list(await db.fetch(PAGE, account_id, limit, offset))


async def delete(db: Db, account_id: UUID, sample_id: UUID) -> bool:
    return await db.fetchval(DELETE, account_id, sample_id) is not None


async def forget(db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID]) -> list[UUID]:
    """Remove a conversation's samples that have the text of any of these messages; their ids."""
    return [row["id"] for row in await db.fetch(FORGET, account_id, conversation_id, message_ids)]


async def forget_conversation(db: Db, account_id: UUID, conversation_id: UUID) -> list[UUID]:
    """Remove a conversation's samples; their ids."""
    return [row["id"] for row in await db.fetch(FORGET_CONVERSATION, account_id, conversation_id)]


async def move(db: Db, account_id: UUID, gone: UUID, into: UUID) -> None:
    """Give the samples of a conversation to another one."""
    await db.execute(MOVE, account_id, gone, into)


async def count_known(db: Db, account_id: UUID, sample_ids: Sequence[UUID]) -> int:
    """How many of these samples the account has."""
    return int(await db.fetchval(COUNT_KNOWN, account_id, sample_ids))


async def outputs(db: Db, account_id: UUID, sample_ids: Sequence[UUID] | None, limit: int) -> AsyncIterator[list[Record]]:
    """Samples with an output, of these or of all, newest first; some at a time, inside the caller's transaction."""
    return await _batches(db, OUTPUTS, account_id, sample_ids, limit)


async def preferences(db: Db, account_id: UUID, sample_ids: Sequence[UUID] | None, limit: int) -> AsyncIterator[list[Record]]:
    """Outputs, each with a rejected one to the same message, newest first; both halves are of these samples, or of all. As `outputs`."""
    return await _batches(db, PREFERENCES, account_id, sample_ids, limit)


async def _batches(db: Db, query: str, *arguments: object) -> AsyncIterator[list[Record]]:
    cursor = await db.cursor(query, *arguments)

    async def batches() -> AsyncIterator[list[Record]]:
        while batch := await cursor.fetch(_BATCH_ROWS):
            yield list(batch)

    return batches()
