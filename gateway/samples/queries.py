from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from asyncpg import Record
from msgspec import Struct

from gateway.database import Db
from gateway.samples.schemas import Sample, SampleSource, TaughtSample
from shared.contracts.generation import Turn
from shared.contracts.training import TrainingMethod


class SampleRow(Struct, frozen=True, kw_only=True):
    """A sample as it is stored (`tables.Sample`). One without an output has quality 0: it says only what not to write."""

    id: UUID
    source: SampleSource
    conversation_id: UUID
    response_id: UUID | None = None
    messages: Sequence[Turn]
    message_ids: Sequence[UUID]
    answered_id: UUID
    reply_id: UUID | None = None
    output: str | None
    rejected_output: str | None = None
    quality: float
    replied_at: datetime


# A row may have megabytes of text.
_BATCH_ROWS = 50
# What an account's samples take is counted in its row, as they come and go (`limits.queries`).
_SIZE = "500 + octet_length(messages::text) + coalesce(octet_length(output), 0) + coalesce(octet_length(rejected_output), 0) as size"
# In the order of the replies, so that two imports at once wait for each other in one direction only.
ADD = f"""
    with added as (
        insert into sample (account_id, id, source, conversation_id, response_id, messages, message_ids, answered_id, reply_id, output,
            rejected_output, quality, replied_at, created_at)
        select $1, id, source, conversation_id, response_id, messages, message_ids, answered_id, reply_id, output, rejected_output, quality,
            replied_at, $3
        from jsonb_to_recordset($2) as sent (
            id uuid, source text, conversation_id uuid, response_id uuid, messages jsonb, message_ids uuid[], answered_id uuid,
            reply_id uuid, output text, rejected_output text, quality real, replied_at timestamptz
        )
        order by reply_id
        on conflict on constraint sample_reply do nothing
        returning {_SIZE}
    ), counted as (
        update account set sample_bytes = sample_bytes + (select sum(size) from added) where id = $1 and exists (select from added)
    )
    select count(*) from added
"""
KNOWN_REPLIES = "select reply_id from sample where account_id = $1 and reply_id = any($2::uuid[])"
EXISTING = "select id from sample where account_id = $1 and id = any($2)"
_LISTED = "account_id = $1 and ($2::text is null or source = $2)"
COUNT = f"select count(*) from sample where {_LISTED}"
PAGE = f"""
    select id, source, messages, output, rejected_output, quality, conversation_id, response_id, replied_at, created_at
    from sample where {_LISTED}
    order by created_at desc, id desc limit $3 offset $4
"""


def _delete(condition: str) -> str:
    return f"""
        with gone as (
            delete from sample where account_id = $1 and {condition} returning id, {_SIZE}
        ), counted as (
            update account set sample_bytes = greatest(sample_bytes - (select sum(size) from gone), 0)
            where id = $1 and exists (select from gone)
        )
        select id from gone
    """


DELETE = _delete("id = $2")
FORGET = _delete("conversation_id = $2 and ($3::uuid[] is null or message_ids && $3)")

MOVE = "update sample set conversation_id = $3 where account_id = $1 and conversation_id = $2"

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
        select id, conversation_id, answered_id, source, messages, output, rejected_output, quality, replied_at from sample where {_TAUGHT}
    ), refused as (
        select id, answered_id, rejected_output from sample
        where account_id = $1 and source = 'reject' and rejected_output is not null and ($2::uuid[] is null or id = any($2))
    ), pair as (
        select id, conversation_id, source, messages, output, quality, replied_at, id as rejected_id, rejected_output
        from chosen where rejected_output is not null
        union all
        select chosen.id, conversation_id, source, messages, output, quality, replied_at, refused.id, refused.rejected_output
        from chosen join refused using (answered_id)
    )
    select * from pair order by replied_at desc, id desc, rejected_id desc limit $3
"""


async def add(db: Db, account_id: UUID, samples: Sequence[SampleRow], created_at: datetime) -> int:
    """Store samples, except of replies that have one; returns how many are new."""
    return int(await db.fetchval(ADD, account_id, samples, created_at)) if samples else 0


async def known_replies(db: Db, account_id: UUID, reply_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the messages that a sample's reply begins with."""
    return {row["reply_id"] for row in await db.fetch(KNOWN_REPLIES, account_id, reply_ids)}


async def existing(db: Db, account_id: UUID, sample_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the samples that the account has."""
    return {row["id"] for row in await db.fetch(EXISTING, account_id, sample_ids)}


async def count(db: Db, account_id: UUID, source: SampleSource | None) -> int:
    """How many there are, of one source or of all."""
    return int(await db.fetchval(COUNT, account_id, source))


async def page(db: Db, account_id: UUID, source: SampleSource | None, limit: int, offset: int) -> list[Sample]:
    return [_sample(row) for row in await db.fetch(PAGE, account_id, source, limit, offset)]


async def delete(db: Db, account_id: UUID, sample_id: UUID) -> list[UUID]:
    """Remove a sample; its id, or nothing where there is none."""
    return await _removed(db, DELETE, account_id, sample_id)


async def forget(db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID] | None) -> list[UUID]:
    """Remove a conversation's samples, those that have the text of any of these messages or all; their ids."""
    return await _removed(db, FORGET, account_id, conversation_id, message_ids)


async def move(db: Db, account_id: UUID, gone: UUID, into: UUID) -> None:
    await db.execute(MOVE, account_id, gone, into)


async def taught(
    db: Db, account_id: UUID, method: TrainingMethod, sample_ids: Sequence[UUID] | None, limit: int
) -> AsyncIterator[list[TaughtSample]]:
    """What may be learnt from, of these samples or of all, newest first; some at a time, inside the caller's transaction.

    `sft`: samples with an output. `dpo`: outputs, each with a rejected one to the same message; both are of these samples.
    """
    cursor = await db.cursor(OUTPUTS if method == "sft" else PREFERENCES, account_id, sample_ids, limit)
    while rows := await cursor.fetch(_BATCH_ROWS):
        yield [TaughtSample(**{**row, "messages": msgspec.convert(row["messages"], list[Turn])}) for row in rows]


async def _removed(db: Db, statement: str, *arguments: object) -> list[UUID]:
    return [row["id"] for row in await db.fetch(statement, *arguments)]


def _sample(row: Record) -> Sample:
    """`input` is the text that was answered: the prompt ends with it."""
    turns = msgspec.convert(row["messages"], list[Turn])
    answered = next((turn.content for turn in reversed(turns) if turn.role == "user"), "")
    return Sample(**{**row, "messages": turns, "input": answered})
