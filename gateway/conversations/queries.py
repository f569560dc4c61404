from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import msgspec
from asyncpg import Record
from msgspec import Struct

from gateway.conversations.prompt import Line, Thread
from gateway.conversations.schemas import FoundMessage, Message, Participant, Reaction
from gateway.database import Db
from gateway.sync.schemas import Attachment, Direction

_AnyMessage = TypeVar("_AnyMessage", bound=Message)


class AnsweredMessage(Struct, frozen=True, kw_only=True):
    """A message that a draft or a past reply answers, and what its prompt may say about its conversation."""

    id: UUID
    conversation_id: UUID
    direction: Direction
    message_type: str
    retracted: bool
    has_text: bool
    thread: Thread


class PastReply(Struct, frozen=True, kw_only=True):
    """Where a reply of the owner's begins, and the message right before it."""

    id: UUID
    conversation_id: UUID
    answered_id: UUID
    sent_at: datetime


# What a prompt has use for. Which texts are nobody's words is written with each message, by `gateway.message_text.phone_reports`.
_HAS_WORDS = "(text is not null and not wordless)"
_SAYS_SOMETHING = f"""
    message_type in ('text', 'attachment') and retracted_at is null
    and ({_HAS_WORDS} or (direction = 'incoming' and attachments is not null))
"""

# A thread's messages are read by their thread alone, and whose they are is asked of what was read. Asked before, PostgreSQL takes the
# account for a condition that few of the thread's messages meet, and reads all of the thread and of the account: with a plan that has to
# suit any account, 8 ms instead of 0.2 for a draft of somebody with 100,000 messages (docs/decisions/0003-sql.md). Messages that are given
# by their ids are fenced, or the threads may be looked for first and searched for the messages.
_CHOSEN = """
    with given as materialized (select * from message where id = any($2::uuid[])),
    chosen as (select * from given where account_id = $1)
"""
ANSWERED = f"""
    {_CHOSEN}
    select chosen.id, chosen.conversation_id, chosen.direction, chosen.message_type, chosen.retracted_at is not null as retracted,
           {_HAS_WORDS} as has_text, conversation.is_group, conversation.display_name as title,
           array(
               select contact.display_name
               from participant join contact on contact.account_id = $1 and contact.id = participant.contact_id
               where participant.conversation_id = conversation.id and participant.left_at is null and contact.display_name is not null
               order by participant.id
           ) as names
    from chosen join conversation on conversation.account_id = $1 and conversation.id = chosen.conversation_id
"""


def _lines_next_to(side: str, order: str) -> str:
    """What says nothing is left out before counting; of a text that is too long its end is read."""
    return f"""
        {_CHOSEN}
        select chosen.id as chosen_id, line.id, line.direction, coalesce(contact.id::text, line.sender_id) as speaker, line.sent_at,
               line.text, contact.display_name as name, line.attachment
        from chosen
        cross join lateral (
            select account_id, id, direction, sender_id, right(text, $4) as text, sent_at, attachments -> 0 ->> 'mimeType' as attachment
            from message
            where conversation_id = chosen.conversation_id and (sent_at, id) {side} (chosen.sent_at, chosen.id) and {_SAYS_SOMETHING}
            order by sent_at {order}, id {order} limit $3
        ) line
        left join participant on participant.conversation_id = chosen.conversation_id and participant.handle = line.sender_id
        left join contact on contact.account_id = $1 and contact.id = participant.contact_id
        where line.account_id = $1
        order by line.sent_at, line.id
    """


LINES_BEFORE = _lines_next_to("<=", "desc")
LINES_FROM = _lines_next_to(">=", "asc")

# An own message right after somebody else's begins a reply.
PAST_REPLIES = f"""
    with line as (
        select id, conversation_id, direction, sent_at, lead(direction) over thread as direction_before, lead(id) over thread as id_before,
               lead(sent_at) over thread as sent_before
        from message
        where account_id = $1 and ($2::uuid is null or conversation_id = $2) and ($3::timestamptz is null or sent_at >= $3 - $4::interval)
          and {_SAYS_SOMETHING}
        window thread as (partition by conversation_id order by sent_at desc, id desc)
    )
    select id, conversation_id, id_before as answered_id, sent_at from line
    where direction = 'outgoing' and direction_before = 'incoming' and sent_at - sent_before <= $4
      and ($3::timestamptz is null or sent_at >= $3)
    order by sent_at desc, id desc limit $5
"""
SHARE_CONVERSATIONS = "select id from conversation where account_id = $1 and id = any($2::uuid[]) order by id for share"


_COLUMNS = ", ".join(f"message.{name}" for name in FoundMessage.__struct_fields__ if name not in ("sender_name", "reactions"))
# Who sent an incoming message: looked up for the few rows of a page, after they were picked.
_WITH_SENDER = """
    select page.*, contact.display_name as sender_name
    from page
    left join participant on page.direction = 'incoming' and participant.conversation_id = page.conversation_id
        and participant.handle = page.sender_id
    left join contact on contact.account_id = $1 and contact.id = participant.contact_id
"""
# A thread that has become part of another one is that.
_CURRENT = "coalesce((select conversation_id from former_conversation where account_id = $1 and id = $2), $2)"
FIND = f"select id, message_count from conversation where account_id = $1 and id = {_CURRENT}"
SENT_AT = "select sent_at from message where account_id = $1 and conversation_id = $2 and id = $3"
PAGE = f"""
    with page as (
        select account_id, {_COLUMNS} from message
        where conversation_id = $2
          and (sent_at, id) < (coalesce($5::timestamptz, 'infinity'), coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
        order by sent_at desc, id desc limit $3 offset $4
    )
    {_WITH_SENDER} where page.account_id = $1 order by page.sent_at desc, page.id desc
"""
# The latest of each person, under whichever of their handles.
REACTIONS = """
    select about, type, direction, sender_id, sender_name, sent_at from (
        select distinct on (message.associated_message_guid, person.id)
               message.associated_message_guid as about, coalesce(message.associated_message_type, '') as type, message.direction,
               message.sender_id, contact.display_name as sender_name, message.sent_at, message.id
        from message
        left join participant on message.direction = 'incoming' and participant.conversation_id = message.conversation_id
            and participant.handle = message.sender_id
        left join contact on contact.account_id = $1 and contact.id = participant.contact_id
        cross join lateral (
            select case message.direction when 'incoming' then coalesce(contact.id::text, message.sender_id) end as id
        ) person
        where message.account_id = $1 and message.associated_message_guid = any($2::text[]) and message.message_type = 'reaction'
          and message.retracted_at is null
        order by message.associated_message_guid, person.id, message.sent_at desc, message.id desc
    ) latest
    order by sent_at, id
"""
# All matches are counted, but only those of the page are read in full. One row at least comes back, for the count.
SEARCH = f"""
    with found as materialized (
        select id, sent_at from message
        where account_id = $1 and search @@ $2::text::tsquery and ($3::uuid is null or conversation_id = $3)
    ), chosen as (
        select id from found order by sent_at desc, id desc limit $4 offset $5
    ), page as (
        select {_COLUMNS} from message join chosen on message.account_id = $1 and message.id = chosen.id
    ), shown as (
        {_WITH_SENDER}
    )
    select counted.total, shown.* from (select count(*) as total from found) counted left join shown on true
    order by shown.sent_at desc, shown.id desc
"""
# It ends after two seconds. It is planned for its words each time: a plan for any words reads all of the account's messages, however rare
# they are.
SEARCH_SETTINGS = "set local statement_timeout = '2s'; set local plan_cache_mode = force_custom_plan"
# Without regard to case and to how accents are written.
_NAMED = """
    ($2::text is null or strpos(lower(normalize(conversation.display_name, nfkc)), lower(normalize($2, nfkc))) > 0 or exists (
        select from participant left join contact on contact.account_id = $1 and contact.id = participant.contact_id
        where participant.conversation_id = conversation.id and participant.left_at is null
          and (strpos(lower(normalize(contact.display_name, nfkc)), lower(normalize($2, nfkc))) > 0
            or strpos(lower(participant.handle), lower($2)) > 0)
    ))
"""
COUNT_CONVERSATIONS = f"select count(*) from conversation where account_id = $1 and {_NAMED}"
_SHOWN = """
    select page.id, page.imessage_id, page.display_name, page.is_group, page.message_count, page.last_message_at,
           array(select imessage_id from direct_chat where conversation_id = page.id order by id) as imessage_ids,
           left(message.text, 1000) as last_text, message.attachments -> 0 ->> 'filename' as last_attachment
    from page left join message on message.account_id = $1 and message.id = page.last_message_id
    order by page.last_message_at desc nulls last, page.id desc
"""
CONVERSATIONS = f"""
    with page as (
        select * from conversation where account_id = $1 and {_NAMED}
        order by last_message_at desc nulls last, id desc limit $3 offset $4
    )
    {_SHOWN}
"""
CONVERSATION = f"with page as (select * from conversation where account_id = $1 and id = {_CURRENT}) {_SHOWN}"
# A contact that takes part with two handles is one participant, the first of them.
PARTICIPANTS = """
    select conversation_id, id, display_name, contact_id from (
        select distinct on (participant.conversation_id, coalesce(contact.id, participant.id))
               participant.id, participant.conversation_id, coalesce(contact.display_name, participant.handle) as display_name,
               contact.id as contact_id
        from participant
        join conversation on conversation.account_id = $1 and conversation.id = participant.conversation_id
        left join contact on contact.account_id = $1 and contact.id = participant.contact_id
        where participant.conversation_id = any($2::uuid[]) and participant.left_at is null
        order by participant.conversation_id, coalesce(contact.id, participant.id), participant.id
    ) present
    order by conversation_id, id
"""
CURRENT = f"select {_CURRENT}"
HOLD = f"select id from conversation where account_id = $1 and id = {_CURRENT} for update"
DELETE = "delete from conversation where account_id = $1 and id = $2"


async def count_conversations(db: Db, account_id: UUID, name_part: str | None) -> int:
    return int(await db.fetchval(COUNT_CONVERSATIONS, account_id, name_part))


async def conversations(db: Db, account_id: UUID, name_part: str | None, limit: int, offset: int) -> list[Record]:
    """Threads, latest first, each with what its last message says; with `name_part` those whose name, or whose participants' names or
    handles, contain it.
    """
    return list(await db.fetch(CONVERSATIONS, account_id, name_part, limit, offset))


async def conversation(db: Db, account_id: UUID, conversation_id: UUID) -> Record | None:
    """One thread as `conversations` has it; None where the account has no such thread."""
    return await db.fetchrow(CONVERSATION, account_id, conversation_id)


async def participants(db: Db, account_id: UUID, conversation_ids: Sequence[UUID]) -> dict[UUID, list[Participant]]:
    """Who is in threads now, by thread."""
    present: defaultdict[UUID, list[Participant]] = defaultdict(list)
    for conversation_id, *person in await db.fetch(PARTICIPANTS, account_id, conversation_ids):
        present[conversation_id].append(Participant(**dict(zip(Participant.__struct_fields__, person, strict=True))))
    return present


async def find(db: Db, account_id: UUID, conversation_id: UUID) -> tuple[UUID, int] | None:
    """A thread, or the one that it has become part of: its id, and how many messages it has; None when there is none."""
    row = await db.fetchrow(FIND, account_id, conversation_id)
    return None if row is None else (row["id"], row["message_count"])


async def current(db: Db, account_id: UUID, conversation_id: UUID) -> UUID:
    """The thread that one has become part of; itself, if it has not."""
    current_id: UUID = await db.fetchval(CURRENT, account_id, conversation_id)
    return current_id


async def page(db: Db, account_id: UUID, conversation_id: UUID, limit: int, offset: int, before: UUID | None) -> list[Message] | None:
    """Messages of a thread, newest first, from the newest or from the one `before` a message on, which costs the same at any depth; None
    when the thread has no such message.
    """
    sent_at = await db.fetchval(SENT_AT, account_id, conversation_id, before) if before is not None else None
    if before is not None and sent_at is None:
        return None
    return [_message(Message, row) for row in await db.fetch(PAGE, account_id, conversation_id, limit, offset, sent_at, before)]


async def reactions(db: Db, account_id: UUID, guids: Sequence[str]) -> list[tuple[str, Reaction]]:
    """Everybody's last reaction about each of these messages, with the message's guid; oldest first."""
    fields = Reaction.__struct_fields__
    return [(about, Reaction(**dict(zip(fields, values, strict=True)))) for about, *values in await db.fetch(REACTIONS, account_id, guids)]


async def search(
    db: Db, account_id: UUID, query: str, conversation_id: UUID | None, limit: int, offset: int
) -> tuple[list[FoundMessage], int]:
    """Messages whose words match a query (`search_query`), newest first, and how many there are in all. Retracted ones have no words.

    Raises:
        asyncpg.QueryCanceledError: it took longer than two seconds.
    """
    await db.execute(SEARCH_SETTINGS)
    rows = await db.fetch(SEARCH, account_id, query, conversation_id, limit, offset)
    return [_message(FoundMessage, row) for row in rows if row["id"] is not None], rows[0]["total"]


async def hold(db: Db, account_id: UUID, conversation_id: UUID) -> UUID | None:
    """Keep others from adding to a thread, or the one that it has become part of, before the transaction ends. Returns its id."""
    held: UUID | None = await db.fetchval(HOLD, account_id, conversation_id)
    return held


async def delete(db: Db, account_id: UUID, conversation_id: UUID) -> None:
    """Delete a thread and by cascade its participants, messages, drafts and samples."""
    await db.execute(DELETE, account_id, conversation_id)


async def answered(db: Db, account_id: UUID, message_ids: Sequence[UUID]) -> dict[UUID, AnsweredMessage]:
    """Messages by id, each with what a prompt may say about its thread."""
    found: dict[UUID, AnsweredMessage] = {}
    for row in await db.fetch(ANSWERED, account_id, message_ids):
        columns = dict(row)
        thread = Thread(is_group=columns.pop("is_group"), title=columns.pop("title"), names=columns.pop("names"))
        found[row["id"]] = AnsweredMessage(**columns, thread=thread)
    return found


async def lines_before(
    db: Db, account_id: UUID, message_ids: Sequence[UUID], count: int, longest_text: int
) -> defaultdict[UUID, list[Line]]:
    """By message: the last `count` lines of its thread up to and with it, oldest first; at most the end of a text."""
    return _lines(await db.fetch(LINES_BEFORE, account_id, message_ids, count, longest_text))


async def lines_from(db: Db, account_id: UUID, message_ids: Sequence[UUID], count: int, longest_text: int) -> defaultdict[UUID, list[Line]]:
    """By message: it and what comes next in its thread, `count` lines in all, oldest first; at most the end of a text."""
    return _lines(await db.fetch(LINES_FROM, account_id, message_ids, count, longest_text))


async def past_replies(
    db: Db, account_id: UUID, conversation_id: UUID | None, since: datetime | None, within: timedelta, limit: int
) -> list[PastReply]:
    """First messages of the owner's replies, newest first: of all threads or of one, at most `within` after what they answer."""
    return [PastReply(**row) for row in await db.fetch(PAST_REPLIES, account_id, conversation_id, since, within, limit)]


async def share_conversations(db: Db, account_id: UUID, conversation_ids: Sequence[UUID]) -> None:
    """Let no sync change these threads before the transaction ends."""
    await db.execute(SHARE_CONVERSATIONS, account_id, conversation_ids)


def _message(kind: type[_AnyMessage], row: Record) -> _AnyMessage:
    """A message without its reactions."""
    columns = {name: row[name] for name in kind.__struct_fields__ if name != "reactions"}
    columns["attachments"] = msgspec.convert(row["attachments"] or [], list[Attachment])
    return kind(**columns, reactions=[])


def _lines(rows: Iterable[Record]) -> defaultdict[UUID, list[Line]]:
    lines: defaultdict[UUID, list[Line]] = defaultdict(list)
    for row in rows:
        columns = dict(row)
        lines[columns.pop("chosen_id")].append(Line(**columns))
    return lines
