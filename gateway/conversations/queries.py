from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from asyncpg import Record

from gateway.conversations.cursor import Place
from gateway.conversations.prompt import LONGEST_LINE
from gateway.database import Db

# What a prompt has use for. Which texts are nobody's words is written with each message, by `gateway.message_text.phone_reports`.
_HAS_WORDS = "(text is not null and not wordless)"
_SAYS_SOMETHING = f"""
    message_type in ('text', 'attachment') and retracted_at is null
    and ({_HAS_WORDS} or (direction = 'incoming' and attachments is not null))
"""

# A thread's messages are read by their thread alone, and whose they are is asked of what was read. Asked before, PostgreSQL takes the
# account for a condition that few of the thread's messages meet, and reads all of the thread and of the account: with a plan that has to
# suit any account, 8 ms instead of 0.2 for a draft of somebody with 100,000 messages (docs/decisions/0003-sql.md).


def _context(chosen: str, text: str, fence: str = "") -> str:
    """The chosen messages, each with its thread and the last $3 lines up to it; what says nothing is left out before counting."""
    return f"""
        with chosen as {fence} (
            select id, conversation_id, direction, message_type, retracted_at, {_HAS_WORDS} as has_text, sent_at from message
            where account_id = $1 and id = {chosen}
        )
        select chosen.id as chosen_id, chosen.conversation_id, chosen.direction as chosen_direction, chosen.message_type as chosen_type,
               chosen.retracted_at is not null as chosen_retracted,
               chosen.has_text as chosen_has_text,
               conversation.is_group, conversation.display_name as title, others.names,
               line.id, line.direction, line.sender_id, line.text, line.sent_at, line.attachment, contact.id as contact_id,
               contact.display_name as sender_name
        from chosen
        join conversation on conversation.account_id = $1 and conversation.id = chosen.conversation_id
        cross join lateral (
            select array_agg(contact.display_name order by participant.id) as names
            from participant join contact on contact.account_id = $1 and contact.id = participant.contact_id
            where participant.conversation_id = chosen.conversation_id and participant.left_at is null and contact.display_name is not null
        ) others
        left join lateral (
            select account_id, id, direction, sender_id, {text} as text, sent_at, attachments -> 0 ->> 'mimeType' as attachment
            from message
            where conversation_id = chosen.conversation_id and (sent_at, id) <= (chosen.sent_at, chosen.id)
              and {_SAYS_SOMETHING}
            order by sent_at desc, id desc
            limit $3
        ) line on line.account_id = $1
        left join participant on participant.conversation_id = chosen.conversation_id and participant.handle = line.sender_id
        left join contact on contact.account_id = $1 and contact.id = participant.contact_id
        order by line.sent_at, line.id
    """


DRAFT_CONTEXT = _context("$2", f"right(text, {LONGEST_LINE})")
# Of texts that are too long only as much as tells that. Fenced, or the threads may be looked for first and searched for the messages.
CONTEXTS = _context("any($2::uuid[])", "left(text, $4)", "materialized")

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
NEXT_LINES = f"""
    select first.id as first_id, line.id, line.direction, line.sender_id, line.text, line.sent_at, null as attachment, null as contact_id,
           null as sender_name
    from message first
    cross join lateral (
        select account_id, id, direction, sender_id, left(text, $4) as text, sent_at from message
        where conversation_id = first.conversation_id and (sent_at, id) >= (first.sent_at, first.id)
          and {_SAYS_SOMETHING}
        order by sent_at, id limit $3
    ) line
    where first.account_id = $1 and line.account_id = $1 and first.id = any($2::uuid[])
    order by line.sent_at, line.id
"""


_COLUMNS = """
    message.id, message.conversation_id, message.imessage_guid, message.sender_id, message.direction, message.message_type, message.text,
    message.sent_at, message.edited_at, message.retracted_at, message.reply_to_guid, message.associated_message_guid,
    message.associated_message_type, message.attachments
"""
# Who sent an incoming message: looked up for the few rows of a page, after they were picked.
_WITH_SENDER = """
    select page.*, contact.display_name as sender_name, contact.id as contact_id
    from page
    left join participant on page.direction = 'incoming' and participant.conversation_id = page.conversation_id
        and participant.handle = page.sender_id
    left join contact on contact.account_id = $1 and contact.id = participant.contact_id
"""
COUNT = "select message_count from conversation where account_id = $1 and id = $2"
PAGE = f"""
    with page as (
        select account_id, {_COLUMNS} from message where conversation_id = $2 order by sent_at desc, id desc limit $3 offset $4
    )
    {_WITH_SENDER} where page.account_id = $1 order by page.sent_at desc, page.id desc
"""
PAGE_BEFORE = f"""
    with page as (
        select account_id, {_COLUMNS} from message where conversation_id = $2 and (sent_at, id) < ($4, $5)
        order by sent_at desc, id desc limit $3
    )
    {_WITH_SENDER} where page.account_id = $1 order by page.sent_at desc, page.id desc
"""
REACTIONS = f"""
    with page as (
        select {_COLUMNS} from message
        where account_id = $1 and associated_message_guid = any($2::text[]) and message_type = 'reaction' and retracted_at is null
    )
    {_WITH_SENDER} order by page.sent_at, page.id
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
CONVERSATIONS = f"""
    with page as (
        select * from conversation where account_id = $1 and {_NAMED}
        order by last_message_at desc nulls last, id desc limit $3 offset $4
    )
    select page.id, page.imessage_id, page.display_name, page.is_group, page.message_count, page.last_message_at,
           array(select imessage_id from direct_chat where conversation_id = page.id order by id) as imessage_ids,
           left(message.text, 1000) as last_text, message.attachments -> 0 ->> 'filename' as last_attachment
    from page left join message on message.account_id = $1 and message.id = page.last_message_id
    order by page.last_message_at desc nulls last, page.id desc
"""
# A contact that takes part with two handles is one participant, the first of them.
PARTICIPANTS = """
    select * from (
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
CURRENT = "select conversation_id from former_conversation where account_id = $1 and id = $2"
HOLD = "select true from conversation where account_id = $1 and id = $2 for update"
DELETE = "delete from conversation where account_id = $1 and id = $2"


async def count_conversations(db: Db, account_id: UUID, name_part: str | None) -> int:
    return int(await db.fetchval(COUNT_CONVERSATIONS, account_id, name_part))


async def conversations(db: Db, account_id: UUID, name_part: str | None, limit: int, offset: int) -> list[Record]:
    """Threads, latest first; with `name_part` those whose name, or whose participants' names or handles, contain it."""
    return list(await db.fetch(CONVERSATIONS, account_id, name_part, limit, offset))


async def participants(db: Db, account_id: UUID, conversation_ids: list[UUID]) -> list[Record]:
    return list(await db.fetch(PARTICIPANTS, account_id, conversation_ids))


async def message_count(db: Db, account_id: UUID, conversation_id: UUID) -> int | None:
    """How many messages a thread has; None when there is no such thread."""
    count: int | None = await db.fetchval(COUNT, account_id, conversation_id)
    return count


async def current(db: Db, account_id: UUID, conversation_id: UUID) -> UUID:
    """The thread that one has become part of; itself, if it has not."""
    current_id: UUID | None = await db.fetchval(CURRENT, account_id, conversation_id)
    return current_id or conversation_id


async def page(db: Db, account_id: UUID, conversation_id: UUID, limit: int, offset: int) -> list[Record]:
    """Messages of a thread, newest first."""
    return list(await db.fetch(PAGE, account_id, conversation_id, limit, offset))


async def page_before(db: Db, account_id: UUID, conversation_id: UUID, limit: int, before: Place) -> list[Record]:
    """Messages of a thread that are older than a place, newest first. Costs the same at any depth."""
    return list(await db.fetch(PAGE_BEFORE, account_id, conversation_id, limit, before.sent_at, before.id))


async def reactions(db: Db, account_id: UUID, guids: list[str]) -> list[Record]:
    """Reactions about messages, oldest first."""
    return list(await db.fetch(REACTIONS, account_id, guids))


async def search(db: Db, account_id: UUID, query: str, conversation_id: UUID | None, limit: int, offset: int) -> tuple[list[Record], int]:
    """Messages whose words match a query (`search_query`), newest first, and how many there are in all. Retracted ones have no words.

    Raises:
        asyncpg.QueryCanceledError: it took longer than two seconds.
    """
    await db.execute(SEARCH_SETTINGS)
    rows = await db.fetch(SEARCH, account_id, query, conversation_id, limit, offset)
    return [row for row in rows if row["id"] is not None], rows[0]["total"]


async def hold(db: Db, account_id: UUID, conversation_id: UUID) -> bool:
    """Keep others from adding to a thread before the transaction ends; False when there is no such thread."""
    return bool(await db.fetchval(HOLD, account_id, conversation_id))


async def delete(db: Db, account_id: UUID, conversation_id: UUID) -> None:
    """Delete a thread and by cascade its participants, messages, drafts and samples."""
    await db.execute(DELETE, account_id, conversation_id)


async def draft_context(db: Db, account_id: UUID, message_id: UUID, max_history: int) -> list[Record]:
    """The chosen message and its thread, repeated on each line of the history up to it, oldest first."""
    return list(await db.fetch(DRAFT_CONTEXT, account_id, message_id, max_history))


async def contexts(db: Db, account_id: UUID, message_ids: Sequence[UUID], max_history: int, longest_text: int) -> list[Record]:
    """As `draft_context`, of several messages; texts are cut at `longest_text` characters."""
    return list(await db.fetch(CONTEXTS, account_id, message_ids, max_history, longest_text))


async def past_replies(
    db: Db, account_id: UUID, conversation_id: UUID | None, since: datetime | None, within: timedelta, limit: int
) -> list[Record]:
    """First messages of the owner's replies, newest first: of all threads or of one, at most `within` after what they answer."""
    return list(await db.fetch(PAST_REPLIES, account_id, conversation_id, since, within, limit))


async def share_conversations(db: Db, account_id: UUID, conversation_ids: Sequence[UUID]) -> None:
    """Let no sync change these threads before the transaction ends."""
    await db.execute(SHARE_CONVERSATIONS, account_id, conversation_ids)


async def next_lines(db: Db, account_id: UUID, first_ids: Sequence[UUID], count: int, longest_text: int) -> list[Record]:
    """Each of these messages with those that come next in its thread, `count` in all, oldest first."""
    return list(await db.fetch(NEXT_LINES, account_id, first_ids, count, longest_text))
