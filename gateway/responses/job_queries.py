"""SQL of queued drafts. A draft's `request` is there as long as the ML service may have a job for it."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from asyncpg import Record

from gateway.adapters.queries import ACTIVE
from gateway.conversations.prompt import Prompt
from gateway.database import Db
from gateway.responses.jobs import Completion, Ending, JobKey, JobRequest
from gateway.responses.queries import DETAILS
from shared.contracts.generation import Turn

# FOR SHARE: whoever changes the thread's messages waits until the draft is committed, and then finds it with the prompt that it read.
HOLD_THREAD = f"""
    select {ACTIVE} as adapter_id
    from message join conversation on conversation.account_id = $1 and conversation.id = message.conversation_id
    where message.account_id = $1 and message.id = $2
    for share of conversation
"""
ACCEPTED_BEFORE = """
    select id from response
    where account_id = $1 and key_hash = $2 and status <> 'failed' and created_at > now() - interval '24 hours'
"""
WAITING = "select count(*) from (select from response where account_id = $1 and request is not null limit $2) as waiting"
# Its first look comes when everything that goes well has long gone well.
ACCEPT = """
    insert into response (account_id, id, conversation_id, message_id, device_id, status, messages, message_ids, cached, created_at,
        request, look_at, key_hash)
    values ($1, $2, $3, $4, $5, 'queued', $6, $7, false, $8, $9, now() + interval '10 seconds', $10)
"""

_THESE = "unnest($1::uuid[], $2::uuid[]) as these (whose, which) where account_id = whose and id = which"
_OPEN = "response.request is not null and response.status in ('queued', 'generating')"
_TOLD = f"account_id, started_at is not null as began, {DETAILS}"
# That a draft has begun need not survive a power cut: its end comes all the same. With $3 nobody waits for the disk.
BEGIN = f"""
    with commit as (select set_config('synchronous_commit', case when $3 then 'off' else current_setting('synchronous_commit') end, true))
    update response set status = 'generating', started_at = coalesce(started_at, now())
    from commit, {_THESE} and {_OPEN} and status = 'queued'
    returning {_TOLD}
"""
COMPLETE = f"""
    update response set status = 'completed', completed_at = now(), started_at = coalesce(started_at, now()), text = draft,
        candidates = case when (request ->> 'n')::integer > 1 then drafts end, confidence = probability, model_version = model,
        tokens_used = tokens, cached = was_cached, request = null
    from jsonb_to_recordset($1) as these (whose uuid, which uuid, draft text, drafts jsonb, probability real, model text, tokens integer,
        was_cached boolean)
    where account_id = whose and id = which and {_OPEN}
    returning {_TOLD}
"""
END = f"""
    update response set status = how, error = why, completed_at = now(), request = null
    from jsonb_to_recordset($1) as these (whose uuid, which uuid, how text, why text)
    where account_id = whose and id = which and {_OPEN}
    returning {_TOLD}
"""
SETTLE = f"update response set request = null from {_THESE} and request is not null"
READ = f"select {_TOLD} from response, {_THESE}"
LOCK_PROMPT = f"select messages, message_ids, request from response where account_id = $1 and id = $2 and {_OPEN} for update"
CUT_PROMPT = "update response set messages = $3, message_ids = $4 where account_id = $1 and id = $2"

# For all accounts: what nobody asked about comes to whichever gateway gets to it first. A draft that waits long is looked at less and less.
TAKE_DUE = f"""
    update response set attempts = attempts + 1,
        look_at = now() + greatest(interval '10 seconds', least((now() - created_at) / 2, interval '60 seconds'))
    where id in (
        select id from response where request is not null and look_at <= now() order by look_at limit $1 for update skip locked
    )
    returning account_id, id, attempts, created_at, messages, request, {_OPEN} as open
"""
WENT_WELL = "update response set attempts = 0 where account_id = $1 and id = $2 and attempts > 0"


async def hold_thread(db: Db, account_id: UUID, message_id: UUID) -> Record | None:
    """Keep the thread of a message as it is until the transaction ends; None when there is no such message.

    Returns:
        `adapter_id`: the account's active adapter, if there is one.
    """
    return await db.fetchrow(HOLD_THREAD, account_id, message_id)


async def accepted_before(db: Db, account_id: UUID, key_hash: bytes) -> UUID | None:
    """The draft that was accepted under this key."""
    response_id: UUID | None = await db.fetchval(ACCEPTED_BEFORE, account_id, key_hash)
    return response_id


async def waiting(db: Db, account_id: UUID, most: int) -> int:
    """How many of the account's drafts may have a job; counting ends at `most`."""
    return int(await db.fetchval(WAITING, account_id, most))


async def accept(
    db: Db,
    account_id: UUID,
    response_id: UUID,
    *,
    conversation_id: UUID,
    message_id: UUID,
    device_id: UUID,
    prompt: Prompt,
    request: JobRequest,
    key_hash: bytes | None,
    created_at: datetime,
) -> None:
    """Store a draft that waits for its turn."""
    await db.execute(
        ACCEPT,
        account_id,
        response_id,
        conversation_id,
        message_id,
        device_id,
        prompt.turns,
        prompt.message_ids,
        created_at,
        request,
        key_hash,
    )


async def begin(db: Db, keys: Sequence[JobKey], *, lazily: bool) -> list[Record]:
    """Note that jobs have begun; the rows that this changed, as `read` gives them. `lazily`: do not wait until it is on the disk."""
    return list(await db.fetch(BEGIN, *_columns(keys), lazily))


async def complete(db: Db, completions: Sequence[Completion]) -> list[Record]:
    """Store the drafts of those that are still wanted; their rows, as `read` gives them."""
    return list(await db.fetch(COMPLETE, completions))


async def end(db: Db, endings: Sequence[Ending]) -> list[Record]:
    """Close those that are still open; their rows, as `read` gives them."""
    return list(await db.fetch(END, endings))


async def settle(db: Db, keys: Sequence[JobKey]) -> None:
    """Note that the ML service has no open jobs for these."""
    await db.execute(SETTLE, *_columns(keys))


async def read(db: Db, keys: Sequence[JobKey]) -> list[Record]:
    """The drafts that there are, as `queries.find` gives them, and with `account_id` and whether they ever `began`."""
    return list(await db.fetch(READ, *_columns(keys)))


async def lock_prompt(db: Db, account_id: UUID, response_id: UUID) -> Prompt | None:
    """The prompt of an open draft; nobody else changes it before the transaction ends."""
    row = await db.fetchrow(LOCK_PROMPT, account_id, response_id)
    if row is None:
        return None
    ids = iter(row["message_ids"])
    return Prompt(turns_of(row), [tuple(next(ids) for _ in range(size)) for size in request_of(row).turn_sizes])


async def cut_prompt(db: Db, account_id: UUID, response_id: UUID, prompt: Prompt) -> None:
    await db.execute(CUT_PROMPT, account_id, response_id, prompt.turns, prompt.message_ids)


async def take_due(db: Db, limit: int) -> list[Record]:
    """Drafts that may have a job and of which nothing was heard for long, or that nobody wants any more; no other gateway gets them now."""
    return list(await db.fetch(TAKE_DUE, limit))


async def went_well(db: Db, key: JobKey) -> None:
    """Note that the draft was not looked at in vain."""
    await db.execute(WENT_WELL, key.account_id, key.response_id)


def turns_of(row: Record) -> list[Turn]:
    return msgspec.convert(row["messages"], list[Turn])


def request_of(row: Record) -> JobRequest:
    return msgspec.convert(row["request"], JobRequest)


def _columns(keys: Sequence[JobKey]) -> tuple[list[UUID], list[UUID]]:
    return [key.account_id for key in keys], [key.response_id for key in keys]
