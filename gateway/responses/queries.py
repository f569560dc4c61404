from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from asyncpg import Record

from gateway.adapters.queries import ACTIVE
from gateway.database import Db
from gateway.responses.schemas import Candidate
from shared.contracts.generation import Turn

# FOR SHARE makes a draft and a sync of the same thread take turns: a sync that holds the thread is waited for, and a later one finds the
# row. The prompt is read after this statement, so it has no text whose retraction missed the row.
# A row that says `generating` need not survive a power cut, so nobody waits for the disk here; `COMPLETE` does.
# Which adapter it is written with is read on the way, at 3 µs instead of a call of its own.
BEGIN = f"""
    with thread as (
        select conversation.id, set_config('synchronous_commit', 'off', true)
        from message join conversation on conversation.account_id = $1 and conversation.id = message.conversation_id
        where message.account_id = $1 and message.id = $3
          and message.direction = 'incoming' and message.message_type in ('text', 'attachment') and message.retracted_at is null
        for share of conversation
    )
    insert into response (account_id, id, conversation_id, message_id, device_id, status, message_ids, cached, created_at)
    select $1, $2, thread.id, $3, $4, 'generating', '{{}}', false, $5 from thread
    returning {ACTIVE} as adapter_id
"""
DISCARD = "delete from response where account_id = $1 and id = $2"
# A draft that was cancelled, or whose thread was deleted meanwhile, stays that way: these two say so by touching no row.
COMPLETE = """
    update response set status = 'completed', completed_at = $3, text = $4, candidates = $5, confidence = $6, model_version = $7,
        tokens_used = $8, cached = $9, messages = $10, message_ids = $11
    where account_id = $1 and id = $2 and status = 'generating' returning conversation_id
"""
# A queued draft's job is ended by the reconciler, which looks at it now.
CLOSE = """
    update response set status = $3, error = $4, completed_at = $5, look_at = now()
    where account_id = $1 and id = $2 and status in ('queued', 'generating') returning true
"""

DETAILS = """
    id, status, text, confidence, model_version, tokens_used, conversation_id, message_id, candidates, cached, created_at, completed_at,
    error, action, edited_response, rejection_reason, sample_id
"""
FIND = f"""
    select {DETAILS}, request is not null as has_job, started_at is not null as began from response where account_id = $1 and id = $2
"""
FILTER = """
    from response where account_id = $1
    and ($2::uuid is null or conversation_id = $2) and ($3::varchar is null or status = $3)
"""
COUNT = f"select count(*) {FILTER}"
PAGE = f"select {DETAILS} {FILTER} order by created_at desc, id desc limit $4 offset $5"

LOCK = f"select {DETAILS}, messages, message_ids from response where account_id = $1 and id = $2 for update"
ACT = """
    update response set action = $3, text = $4, edited_response = $5, rejection_reason = $6, sample_id = $7, acted_at = $8
    where account_id = $1 and id = $2
"""
CHOSEN_TEXTS = """
    select conversation_id, coalesce(edited_response, text) as text, action = 'edit' as edited from response
    where account_id = $1 and conversation_id = any($2::uuid[]) and action in ('accept', 'edit') and coalesce(edited_response, text) <> ''
"""

# A draft that somebody waits for has no prompt yet, and is taken to have read the messages.
# What the owner accepted or wrote is the owner's; anything else that the model made of a retracted message may quote it.
FORGET = f"""
    with affected as (
        select id as affected_id, action is null and status in ('queued', 'generating', 'completed') as withdrawn from response
        where account_id = $1 and conversation_id = $2 and (message_ids && $3 or (status = 'generating' and request is null)) for update
    )
    update response set
        messages = null,
        candidates = null,
        text = case when action = 'accept' then text end,
        status = case when withdrawn then 'cancelled' else status end,
        error = case when withdrawn then $4 else error end,
        completed_at = coalesce(completed_at, $5),
        look_at = now()
    from affected where account_id = $1 and id = affected_id
    returning withdrawn, request is not null as has_job, {DETAILS}
"""

# The ML service keeps jobs and their results for a day.
RECENT_OF = "select id from response where account_id = $1 and conversation_id = $2 and created_at > now() - interval '2 days'"
END_OF_CONVERSATION = f"""
    update response set status = 'cancelled', error = $3, completed_at = $4
    where account_id = $1 and conversation_id = $2 and status in ('queued', 'generating')
    returning {DETAILS}
"""
MOVE = "update response set conversation_id = $3 where account_id = $1 and conversation_id = $2"

# For this process's own drafts and for all accounts' forgotten ones: the two queries that no account asks.
NO_LONGER_GENERATING = """
    select wanted.id from unnest($1::uuid[]) as wanted (id)
    where not exists (
        select from response join device on device.id = response.device_id
        where response.id = wanted.id and response.status = 'generating' and device.status = 'active'
    )
"""
FAIL_ABANDONED = f"""
    update response set status = 'failed', completed_at = now(), error = 'The gateway that wrote this draft was stopped; ask for a new one'
    where status = 'generating' and request is null and created_at < now() - $1::interval
    returning account_id, {DETAILS}
"""


async def begin(
    db: Db,
    account_id: UUID,
    response_id: UUID,
    *,
    message_id: UUID,
    device_id: UUID,
    created_at: datetime,
) -> Record | None:
    """Store a draft that is being written; None when there is no such message, or none that can be answered.

    Returns:
        `adapter_id`: the account's active adapter, if there is one.
    """
    return await db.fetchrow(BEGIN, account_id, response_id, message_id, device_id, created_at)


async def discard(db: Db, account_id: UUID, response_id: UUID) -> None:
    """Remove a draft that turned out to be impossible."""
    await db.execute(DISCARD, account_id, response_id)


async def complete(
    db: Db,
    account_id: UUID,
    response_id: UUID,
    *,
    completed_at: datetime,
    text: str,
    candidates: Sequence[Candidate] | None,
    confidence: float,
    model_version: str,
    tokens_used: int,
    cached: bool,
    turns: Sequence[Turn],
    message_ids: Sequence[UUID],
) -> UUID | None:
    """Store a draft and the prompt that the model read; the conversation that it is of by now, or None when it is not wanted any more."""
    conversation_id: UUID | None = await db.fetchval(
        COMPLETE,
        account_id,
        response_id,
        completed_at,
        text,
        candidates,
        confidence,
        model_version,
        tokens_used,
        cached,
        turns,
        message_ids,
    )
    return conversation_id


async def close(db: Db, account_id: UUID, response_id: UUID, status: str, error: str | None, completed_at: datetime) -> bool:
    """End an unfinished draft without a text; False when it was not unfinished."""
    return bool(await db.fetchval(CLOSE, account_id, response_id, status, error, completed_at))


async def find(db: Db, account_id: UUID, response_id: UUID) -> Record | None:
    return await db.fetchrow(FIND, account_id, response_id)


async def count(db: Db, account_id: UUID, conversation_id: UUID | None, status: str | None) -> int:
    return int(await db.fetchval(COUNT, account_id, conversation_id, status))


async def page(db: Db, account_id: UUID, conversation_id: UUID | None, status: str | None, limit: int, offset: int) -> list[Record]:
    return list(await db.fetch(PAGE, account_id, conversation_id, status, limit, offset))


async def lock(db: Db, account_id: UUID, response_id: UUID) -> Record | None:
    """A draft with its prompt; nobody else changes it before the transaction ends."""
    return await db.fetchrow(LOCK, account_id, response_id)


async def act(
    db: Db,
    account_id: UUID,
    response_id: UUID,
    *,
    action: str,
    text: str,
    edited_response: str | None,
    rejection_reason: str | None,
    sample_id: UUID,
    acted_at: datetime,
) -> None:
    await db.execute(ACT, account_id, response_id, action, text, edited_response, rejection_reason, sample_id, acted_at)


async def chosen_texts(db: Db, account_id: UUID, conversation_ids: Sequence[UUID]) -> list[Record]:
    """What the owner took or wrote in place of drafts."""
    return list(await db.fetch(CHOSEN_TEXTS, account_id, conversation_ids))


async def forget(db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID], error: str, now: datetime) -> list[Record]:
    """Take the text of these messages, and what may quote it, out of the drafts that were made from them.

    Returns:
        Those drafts, `withdrawn` where one is cancelled by that.
    """
    return list(await db.fetch(FORGET, account_id, conversation_id, message_ids, error, now))


async def recent_of(db: Db, account_id: UUID, conversation_id: UUID) -> list[UUID]:
    """A conversation's drafts of which the ML service may still have something."""
    return [row["id"] for row in await db.fetch(RECENT_OF, account_id, conversation_id)]


async def end_of_conversation(db: Db, account_id: UUID, conversation_id: UUID, error: str, now: datetime) -> list[Record]:
    """Cancel the unfinished drafts of a thread. Returns them."""
    return list(await db.fetch(END_OF_CONVERSATION, account_id, conversation_id, error, now))


async def move(db: Db, account_id: UUID, gone: UUID, into: UUID) -> None:
    """Give the drafts of a conversation to another one."""
    await db.execute(MOVE, account_id, gone, into)


async def no_longer_generating(db: Db, response_ids: Sequence[UUID]) -> list[UUID]:
    """Those of the drafts that were cancelled, or are gone, or whose device was deactivated."""
    return [row["id"] for row in await db.fetch(NO_LONGER_GENERATING, response_ids)]


async def fail_abandoned(db: Db, longest: timedelta) -> list[Record]:
    """Close every account's drafts that are older than any draft can take: whoever wrote them was killed. Returns them."""
    return list(await db.fetch(FAIL_ABANDONED, longest))
