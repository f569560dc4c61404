"""SQL of syncing messages. Whoever writes to a thread holds its conversation's row, so the batches of one thread come one after another."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from asyncpg import Record

from gateway.database import Db
from gateway.message_text.phone_reports import is_wordless
from gateway.message_text.search_words import search_document
from gateway.sync.merging import Content, KnownMessage, attachments_json
from shared.ids import new_id

ROW_BYTES = 500
"""What a row takes beside its text, with its indexes."""

# The thread, locked; which of the given handles are not among its participants yet; and whether somebody came or left, by the list of
# who is in it now.
LOCK_THREAD = """
    select id, display_name, is_group,
           array(
               select handle from unnest($3::text[]) handle
               where not exists (select from participant where conversation_id = conversation.id and participant.handle = handle.handle)
           ) as strangers,
           exists (
               select from participant
               where conversation_id = conversation.id and cardinality($4::text[]) > 0 and (left_at is null) <> (handle = any($4::text[]))
           ) as moved,
           exists (select from direct_chat where account_id = $1 and imessage_id = $2) as is_direct_chat
    from conversation where account_id = $1 and id = coalesce(
        (select conversation_id from direct_chat where account_id = $1 and imessage_id = $2),
        (select known.id from conversation known where known.account_id = $1 and known.imessage_id = $2)
    )
    for no key update
"""
# `do update` because, unlike `do nothing`, it locks and returns a row that another batch made a moment ago.
ADD_THREAD = """
    insert into conversation (id, account_id, imessage_id, display_name, is_group, created_at, updated_at)
    values ($3, $1, $2, $4, $5, now(), now())
    on conflict on constraint conversation_thread do update set updated_at = now()
    returning id, display_name, is_group
"""
GROW = "update conversation set stored_bytes = greatest(stored_bytes + $3, 0) where account_id = $1 and id = $2"
HOLD_THREADS = "select id from conversation where account_id = $1 and id = any($2::uuid[]) order by id for no key update"
NAME_THREAD = "update conversation set display_name = $3, is_group = $4, updated_at = now() where account_id = $1 and id = $2"
# Contacts are synced under the same lock, exclusively: a participant and its contact that come at the same moment find each other.
SHARE_CONTACTS = "select pg_advisory_xact_lock_shared(hashtextextended('contacts of ' || $1::uuid, 0))"
ADD_PARTICIPANTS = """
    insert into participant (id, conversation_id, handle, contact_id)
    select stranger.id, $2, stranger.handle, meant.contact_id
    from unnest($3::uuid[], $4::text[]) stranger (id, handle)
    left join lateral (
        select min(contact_id::text)::uuid as contact_id from contact_handle
        where contact_handle.account_id = $1 and contact_handle.handle = stranger.handle
        having count(*) = 1
    ) meant on true
    order by stranger.handle
    on conflict on constraint participant_handle do nothing
"""
# Somebody is there as long as the list has them, under whichever of their handles.
MOVE_PARTICIPANTS = """
    with standing as (
        select known.id, known.handle = any($2::text[]) or exists (
            select from participant listed
            where listed.conversation_id = $1 and listed.contact_id = known.contact_id and listed.handle = any($2::text[])
        ) as is_here
        from participant known where known.conversation_id = $1
    )
    update participant set left_at = case when standing.is_here then null else now() end
    from standing
    where participant.id = standing.id and (participant.left_at is null) <> standing.is_here
"""
# Attachments come as JSON in text: the lists of a jsonb[] would be taken for a dimension of it.
# In the order of their guids, so that batches that share some (of two threads of an account) cannot wait for each other in a circle.
INSERT = """
    with created as (
        insert into message (
            id, account_id, conversation_id, imessage_guid, sender_id, direction, message_type, text, sent_at, edited_at, retracted_at,
            reply_to_guid, associated_message_guid, associated_message_type, attachments, wordless, search
        )
        select sent.id, $1, $2, sent.guid, sent.sender_id, sent.direction, sent.message_type, sent.text, sent.sent_at, sent.edited_at,
               sent.retracted_at, sent.reply_to_guid, sent.associated_guid, sent.associated_type, sent.attachments::jsonb,
               coalesce(sent.wordless, false), sent.search::tsvector
        from unnest(
            $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::timestamptz[],
            $11::timestamptz[], $12::text[], $13::text[], $14::text[], $15::text[], $16::boolean[], $17::text[]
        ) sent (
            id, guid, sender_id, direction, message_type, text, sent_at, edited_at, retracted_at, reply_to_guid, associated_guid,
            associated_type, attachments, wordless, search
        )
        order by sent.guid
        on conflict on constraint message_guid do nothing
        returning id, sent_at, 500 + coalesce(octet_length(text), 0) + coalesce(pg_column_size(attachments), 0) as size
    ), newest as (
        select id, sent_at from created order by sent_at desc, id desc limit 1
    ), counted_in_chat as (
        update direct_chat set
            message_count = message_count + (select count(*) from created),
            (last_message_at, last_message_id) = (
                select sent_at, id from (values (last_message_at, last_message_id), (newest.sent_at, newest.id)) last (sent_at, id)
                order by sent_at desc nulls last, id desc limit 1
            )
        from newest
        where direct_chat.account_id = $1 and direct_chat.imessage_id = $18 and direct_chat.conversation_id = $2
    ), counted as (
        update conversation set
            message_count = message_count + (select count(*) from created),
            stored_bytes = stored_bytes + (select sum(size) from created),
            (last_message_at, last_message_id) = (
                select sent_at, id from (values (last_message_at, last_message_id), (newest.sent_at, newest.id)) last (sent_at, id)
                order by sent_at desc nulls last, id desc limit 1
            ),
            updated_at = now()
        from newest
        where conversation.account_id = $1 and conversation.id = $2
    )
    select count(*) from created
"""
FIND_KNOWN = """
    select id, conversation_id, imessage_guid, sender_id, direction, message_type, text, sent_at, edited_at, retracted_at, reply_to_guid,
           associated_message_guid, associated_message_type, attachments
    from message
    where account_id = $1 and imessage_guid = any($2::text[])
    order by imessage_guid
    for no key update
"""
UPDATE = """
    update message set
        sender_id = sent.sender_id, direction = sent.direction, message_type = sent.message_type, text = sent.text, sent_at = sent.sent_at,
        edited_at = sent.edited_at, retracted_at = sent.retracted_at, reply_to_guid = sent.reply_to_guid,
        associated_message_guid = sent.associated_guid, associated_message_type = sent.associated_type,
        attachments = sent.attachments::jsonb, wordless = sent.wordless, search = sent.search::tsvector
    from unnest(
        $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[], $9::timestamptz[],
        $10::text[], $11::text[], $12::text[], $13::text[], $14::boolean[], $15::text[]
    ) sent (
        id, sender_id, direction, message_type, text, sent_at, edited_at, retracted_at, reply_to_guid, associated_guid, associated_type,
        attachments, wordless, search
    )
    where message.account_id = $1 and message.id = sent.id
"""
FIND_LAST = """
    update conversation set (last_message_id, last_message_at) = (
        select id, sent_at from message where conversation_id = conversation.id order by sent_at desc, id desc limit 1
    )
    where account_id = $1 and id = $2
"""
STATE = """
    with thread as (
        select id, imessage_id, message_count, last_message_id, last_message_at from conversation
        where account_id = $1 and not exists (select from direct_chat where conversation_id = conversation.id)
        union all
        select conversation_id, imessage_id, message_count, last_message_id, last_message_at from direct_chat where account_id = $1
    )
    select thread.id, thread.imessage_id, thread.message_count, message.imessage_guid,
           coalesce(message.sent_at, thread.last_message_at) as last_message_at
    from thread left join message on message.account_id = $1 and message.id = thread.last_message_id
    order by coalesce(message.sent_at, thread.last_message_at) desc nulls last, thread.id desc, thread.imessage_id
"""
_CHANGING = (
    "sender_id", "direction", "message_type", "text", "sent_at", "edited_at", "retracted_at", "reply_to_guid", "associated_message_guid",
    "associated_message_type", "attachments",
)  # fmt: skip


async def lock_thread(db: Db, account_id: UUID, imessage_id: str, handles: list[str], listed: list[str]) -> Record | None:
    """A known thread, locked until the transaction ends.

    Returns:
        `strangers`: those of the handles that are no participants of it; `moved`: whether who is `listed` differs from who is there;
        `is_direct_chat`: whether the identifier is known as that of a chat with one person.
    """
    return await db.fetchrow(LOCK_THREAD, account_id, imessage_id, handles, listed)


async def add_thread(db: Db, account_id: UUID, imessage_id: str, display_name: str | None, is_group: bool) -> Record:
    """A new thread, locked; or, if another batch has just made it, that one."""
    thread = await db.fetchrow(ADD_THREAD, account_id, imessage_id, new_id(), display_name, is_group)
    assert thread is not None
    return thread


async def hold_threads(db: Db, account_id: UUID, conversation_ids: Collection[UUID]) -> None:
    """Lock threads until the transaction ends, in one order."""
    await db.execute(HOLD_THREADS, account_id, list(conversation_ids))


async def name_thread(db: Db, account_id: UUID, conversation_id: UUID, display_name: str | None, is_group: bool) -> None:
    await db.execute(NAME_THREAD, account_id, conversation_id, display_name, is_group)


async def share_contacts(db: Db, account_id: UUID) -> None:
    """Let nobody change the account's contacts until the transaction ends: before its participants are changed."""
    await db.execute(SHARE_CONTACTS, account_id)


async def add_participants(db: Db, account_id: UUID, conversation_id: UUID, handles: list[str]) -> None:
    """Add participants, each with the contact that its handle means, if it means one."""
    await db.execute(ADD_PARTICIPANTS, account_id, conversation_id, [new_id() for _ in handles], handles)


async def move_participants(db: Db, conversation_id: UUID, listed: list[str]) -> None:
    """Note who is in a thread, and that the others have left it."""
    await db.execute(MOVE_PARTICIPANTS, conversation_id, listed)


async def insert_messages(db: Db, account_id: UUID, conversation_id: UUID, imessage_id: str, columns: Sequence[list[Any]]) -> int:
    """Store the messages whose guid is new and count them in the thread; returns how many these were. Known ones stay untouched."""
    return int(await db.fetchval(INSERT, account_id, conversation_id, *columns, imessage_id))


async def grow(db: Db, account_id: UUID, conversation_id: UUID, size: int) -> None:
    """Count bytes that a thread takes now, or gives back."""
    await db.execute(GROW, account_id, conversation_id, size)


async def find_known(db: Db, account_id: UUID, guids: list[str]) -> dict[str, KnownMessage]:
    """Stored messages by guid, locked until the transaction ends."""
    rows = await db.fetch(FIND_KNOWN, account_id, guids)
    return {row["imessage_guid"]: _known_message(row) for row in rows}


async def update_messages(db: Db, account_id: UUID, contents: dict[UUID, Content]) -> None:
    """Replace the content of messages, and what is known by it."""
    columns = [[getattr(content, name) for content in contents.values()] for name in _CHANGING[:-1]]
    attachments = [attachments_json(content.attachments) for content in contents.values()]
    wordless = [is_wordless(content.text, content.associated_message_type) for content in contents.values()]
    search = [search_document(content.text) for content in contents.values()]
    await db.execute(UPDATE, account_id, list(contents), *columns, attachments, wordless, search)


async def find_last(db: Db, account_id: UUID, conversation_id: UUID) -> None:
    """Look up a thread's last message anew, after the time of one was corrected."""
    await db.execute(FIND_LAST, account_id, conversation_id)


async def state(db: Db, account_id: UUID) -> list[Record]:
    return list(await db.fetch(STATE, account_id))


def _known_message(row: Record) -> KnownMessage:
    content = Content(**{name: row[name] for name in _CHANGING})
    return KnownMessage(id=row["id"], conversation_id=row["conversation_id"], content=content)
