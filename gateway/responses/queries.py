from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from asyncpg import Record
from msgspec import Struct

from gateway.background.due_rows import DueRows
from gateway.conversations.prompt import Prompt
from gateway.database import Db
from gateway.responses.schemas import Candidate, DraftDetails, ResponseStatus
from shared.contracts.generation import GenerateResponse, Turn
from shared.contracts.jobs import AsyncGenerateRequest


class QueuedRequest(Struct, frozen=True, kw_only=True):
    """What a queued draft's job is asked for, beside its chat turns, which are the row's `messages`. `turn_sizes`: how many messages each
    of the turns has.
    """

    job: AsyncGenerateRequest
    turn_sizes: list[int]


class StoredDraft(NamedTuple):
    """A draft as its row has it. `began`: the model was asked for it, so that readers are told of its beginning before its end."""

    account_id: UUID
    began: bool
    details: DraftDetails


class PromptedDraft(NamedTuple):
    """A draft with the prompt that it was made from, which is empty when a message in it was retracted."""

    details: DraftDetails
    turns: list[Turn]
    message_ids: list[UUID]


# A `real` comes back with the noise of its 24 bits, so it is rounded.
DETAILS = """
    id as response_id, status, text as response, round(confidence::numeric, 4)::float8 as confidence, model_version, tokens_used,
    conversation_id, message_id, candidates, cached, created_at, completed_at, error, action, edited_response, rejection_reason, sample_id
"""
STORED = f"account_id, started_at is not null as began, {DETAILS}"
OPEN = "status in ('queued', 'generating')"

# FOR SHARE makes a draft and a sync of the same thread take turns: a sync that holds the thread is waited for, and a later one finds the
# row. The prompt is read after this statement, in the same transaction, so it has no text whose retraction missed the row. A row that says
# `generating` need not survive a power cut, so nobody waits for the disk here; `COMPLETE` does.
BEGIN = f"""
    with thread as (
        select conversation.id,
            set_config('synchronous_commit', case $5 when 'generating' then 'off' else current_setting('synchronous_commit') end, true)
        from message join conversation on conversation.account_id = $1 and conversation.id = message.conversation_id
        where message.account_id = $1 and message.id = $3
          and message.direction = 'incoming' and message.message_type in ('text', 'attachment') and message.retracted_at is null
        for share of conversation
    )
    insert into response (account_id, id, conversation_id, message_id, device_id, status, message_ids, cached, created_at, started_at)
    select $1, $2, thread.id, $3, $4, $5, '{{}}', false, now(), case $5 when 'generating' then now() end from thread
    on conflict (id) do nothing
    returning {STORED}
"""
# Its first look comes when everything that goes well has long gone well.
QUEUE = """
    update response set messages = $3, message_ids = $4, request = $5, look_at = now() + interval '10 seconds'
    where account_id = $1 and id = $2
"""
# A draft that has ended stays as it is, and so does one whose thread was deleted: START, COMPLETE and CLOSE say so by changing no row.
START = f"""
    update response set status = 'generating', started_at = now() where account_id = $1 and id = $2 and status = 'queued'
    returning {STORED}
"""
COMPLETE = f"""
    update response set status = 'completed', completed_at = now(), started_at = coalesce(started_at, now()), text = $3, candidates = $4,
        confidence = $5, model_version = $6, tokens_used = $7, cached = $8, messages = coalesce($9, messages),
        message_ids = coalesce($10, message_ids)
    where account_id = $1 and id = $2 and {OPEN}
    returning {STORED}
"""
# A queued draft's job is ended by the reconciler, which looks at it now.
CLOSE = f"""
    update response set status = $3, error = $4, completed_at = now(), look_at = now() where account_id = $1 and id = $2 and {OPEN}
    returning {STORED}
"""
FIND = f"select {STORED} from response where account_id = $1 and id = $2"
FILTER = """
    from response where account_id = $1
    and ($2::uuid is null or conversation_id = $2) and ($3::varchar is null or status = $3)
"""
COUNT = f"select count(*) {FILTER}"
PAGE = f"select {DETAILS} {FILTER} order by created_at desc, id desc limit $4 offset $5"
IS_WANTED = """
    select exists (
        select from response join device on device.id = response.device_id
        where response.account_id = $1 and response.id = $2 and response.status = 'generating' and device.status = 'active'
    )
"""

WAITING = "select count(*) from (select from response where account_id = $1 and request is not null limit $2) as waiting"
QUEUED_PROMPT = "select messages, message_ids, request from response where account_id = $1 and id = $2 and request is not null"
SETTLE = "update response set request = null where account_id = $1 and id = $2 and request is not null"
# Drafts that may have a job and of which nothing was heard for long, or that nobody wants any more.
DUE = DueRows(
    "response",
    condition="request is not null",
    since="created_at",
    most="60 seconds",
    returning=f"created_at, messages, request, {OPEN} as open",
)
# For all accounts: whoever wrote these was killed.
FAIL_ABANDONED = f"""
    update response set status = 'failed', completed_at = now(), error = 'The gateway that wrote this draft was stopped; ask for a new one'
    where status = 'generating' and request is null and created_at < now() - $1::interval
    returning {STORED}
"""

LOCK = f"select {DETAILS}, messages, message_ids from response where account_id = $1 and id = $2 for update"
ACT = """
    update response set action = $3, text = $4, edited_response = $5, rejection_reason = $6, sample_id = $7, acted_at = now()
    where account_id = $1 and id = $2
"""
CHOSEN_TEXTS = """
    select conversation_id, coalesce(edited_response, text) as text, action = 'edit' as edited from response
    where account_id = $1 and conversation_id = any($2::uuid[]) and action in ('accept', 'edit') and coalesce(edited_response, text) <> ''
"""

# A draft that somebody waits for has no prompt yet, and is taken to have read the messages.
# What the owner accepted or wrote is the owner's; anything else that the model made of a retracted message may quote it.
WITHDRAW = f"""
    update response set status = 'cancelled', error = $4, completed_at = coalesce(completed_at, now()), look_at = now(),
        messages = null, candidates = null, text = null
    where account_id = $1 and conversation_id = $2 and action is null
      and (message_ids && $3 and status in ('queued', 'generating', 'completed') or status = 'generating' and request is null)
    returning {STORED}
"""
CLEAR = """
    update response set messages = null, candidates = null, text = case when action = 'accept' then text end
    where account_id = $1 and conversation_id = $2 and message_ids && $3
    returning id
"""
# The ML service keeps jobs and their results for a day.
RECENT_OF = "select id from response where account_id = $1 and conversation_id = $2 and created_at > now() - interval '2 days'"
END_OF_CONVERSATION = f"""
    update response set status = 'cancelled', error = $3, completed_at = now()
    where account_id = $1 and conversation_id = $2 and {OPEN}
    returning {STORED}
"""
MOVE = "update response set conversation_id = $3 where account_id = $1 and conversation_id = $2"


async def begin(
    db: Db, account_id: UUID, draft_id: UUID, *, message_id: UUID, device_id: UUID, status: ResponseStatus
) -> StoredDraft | None:
    """Store a draft, without a prompt as yet; None when there is no such message, or none that can be answered, or a draft with this id."""
    row = await db.fetchrow(BEGIN, account_id, draft_id, message_id, device_id, status)
    return _stored(row) if row else None


async def queue(db: Db, account_id: UUID, draft_id: UUID, prompt: Prompt, request: QueuedRequest) -> None:
    """Store what it takes to ask for a draft's job, in the transaction that began the draft."""
    await db.execute(QUEUE, account_id, draft_id, prompt.turns, prompt.message_ids, request)


async def start(db: Db, account_id: UUID, draft_id: UUID) -> StoredDraft | None:
    """Note that a queued draft's turn has come; None when it does not wait any more."""
    return await _one(db, START, account_id, draft_id)


async def complete(
    db: Db, account_id: UUID, draft_id: UUID, answer: GenerateResponse, candidates: Sequence[Candidate] | None, read: Prompt | None
) -> StoredDraft | None:
    """Store what the model wrote, and the prompt that it `read`, if that is not stored; None when the draft is not open any more."""
    turns, message_ids = (read.turns, read.message_ids) if read is not None else (None, None)
    made = (answer.response, candidates, answer.confidence, answer.model_version, answer.tokens_used, answer.cached)
    return await _one(db, COMPLETE, account_id, draft_id, *made, turns, message_ids)


async def close(db: Db, account_id: UUID, draft_id: UUID, status: str, error: str | None = None) -> StoredDraft | None:
    """End a draft without a text; None when it is not open any more."""
    return await _one(db, CLOSE, account_id, draft_id, status, error)


async def find(db: Db, account_id: UUID, draft_id: UUID) -> StoredDraft | None:
    return await _one(db, FIND, account_id, draft_id)


async def count(db: Db, account_id: UUID, conversation_id: UUID | None, status: str | None) -> int:
    return int(await db.fetchval(COUNT, account_id, conversation_id, status))


async def page(db: Db, account_id: UUID, conversation_id: UUID | None, status: str | None, limit: int, offset: int) -> list[DraftDetails]:
    return [_details(row) for row in await db.fetch(PAGE, account_id, conversation_id, status, limit, offset)]


async def is_wanted(db: Db, account_id: UUID, draft_id: UUID) -> bool:
    """Whether a draft that is being written is neither ended nor gone, and its device is active."""
    return bool(await db.fetchval(IS_WANTED, account_id, draft_id))


async def waiting(db: Db, account_id: UUID, most: int) -> int:
    """How many of the account's drafts may have a job; counting ends at `most`."""
    return int(await db.fetchval(WAITING, account_id, most))


async def queued_prompt(db: Db, account_id: UUID, draft_id: UUID) -> Prompt | None:
    """The prompt of a draft that may have a job; None when there is no such draft, or its prompt is gone."""
    row = await db.fetchrow(QUEUED_PROMPT, account_id, draft_id)
    if row is None or row["messages"] is None:
        return None
    ids = iter(row["message_ids"])
    sizes = msgspec.convert(row["request"], QueuedRequest).turn_sizes
    return Prompt(msgspec.convert(row["messages"], list[Turn]), [tuple(next(ids) for _ in range(size)) for size in sizes])


async def settle(db: Db, account_id: UUID, draft_id: UUID) -> None:
    """Note that the ML service has no open job for a draft."""
    await db.execute(SETTLE, account_id, draft_id)


async def fail_abandoned(db: Db, longest: timedelta) -> list[StoredDraft]:
    """Close every account's drafts that somebody waits for and that are older than any draft can take. Returns them."""
    return [_stored(row) for row in await db.fetch(FAIL_ABANDONED, longest)]


async def lock(db: Db, account_id: UUID, draft_id: UUID) -> PromptedDraft | None:
    """A draft with its prompt; nobody else changes it before the transaction ends."""
    row = await db.fetchrow(LOCK, account_id, draft_id)
    return PromptedDraft(_details(row), msgspec.convert(row["messages"] or [], list[Turn]), row["message_ids"]) if row else None


async def act(
    db: Db,
    account_id: UUID,
    draft_id: UUID,
    *,
    action: str,
    text: str,
    edited_response: str | None,
    rejection_reason: str | None,
    sample_id: UUID,
) -> None:
    await db.execute(ACT, account_id, draft_id, action, text, edited_response, rejection_reason, sample_id)


async def chosen_texts(db: Db, account_id: UUID, conversation_ids: Sequence[UUID]) -> list[Record]:
    """What the owner took or wrote in place of drafts."""
    return list(await db.fetch(CHOSEN_TEXTS, account_id, conversation_ids))


async def withdraw(db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID], error: str) -> list[StoredDraft]:
    """Cancel the drafts made from these messages that are open, or with which the owner has done nothing yet. Returns them."""
    return [_stored(row) for row in await db.fetch(WITHDRAW, account_id, conversation_id, message_ids, error)]


async def clear(db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID]) -> list[UUID]:
    """Take the text of these messages, and what may quote it, out of all drafts that were made from them. Returns those drafts."""
    return [row["id"] for row in await db.fetch(CLEAR, account_id, conversation_id, message_ids)]


async def recent_of(db: Db, account_id: UUID, conversation_id: UUID) -> list[UUID]:
    """A conversation's drafts of which the ML service may still have something."""
    return [row["id"] for row in await db.fetch(RECENT_OF, account_id, conversation_id)]


async def end_of_conversation(db: Db, account_id: UUID, conversation_id: UUID, error: str) -> list[StoredDraft]:
    """Cancel the open drafts of a thread. Returns them."""
    return [_stored(row) for row in await db.fetch(END_OF_CONVERSATION, account_id, conversation_id, error)]


async def move(db: Db, account_id: UUID, gone: UUID, into: UUID) -> None:
    await db.execute(MOVE, account_id, gone, into)


async def _one(db: Db, statement: str, *arguments: Any) -> StoredDraft | None:
    row = await db.fetchrow(statement, *arguments)
    return _stored(row) if row else None


def _stored(row: Record) -> StoredDraft:
    return StoredDraft(row["account_id"], row["began"], _details(row))


def _details(row: Record) -> DraftDetails:
    fields = {name: row[name] for name in DraftDetails.__struct_fields__}
    return DraftDetails(**{**fields, "candidates": msgspec.convert(fields["candidates"], list[Candidate] | None)})
