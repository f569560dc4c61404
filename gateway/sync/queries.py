"""SQL of syncing messages: conversations, who is in them, their messages; and the chats of which a conversation with one person is made.

Whoever writes to a conversation holds its row, so the batches of one conversation come one after another. Whoever adds direct chats or
merges conversations does so under one lock an account, and holds the conversations after it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from gateway.database import Db
from gateway.message_text.phone_reports import is_wordless
from gateway.message_text.search_words import search_document
from gateway.sync.merging import Content, KnownMessage
from gateway.sync.schemas import ThreadState
from shared.ids import new_id

ROW_BYTES = 500
"""What a row takes beside its text, with its indexes."""
_MERGE_SECONDS = 600  # of messages, each of which is written anew with all its index entries

_CONTENT = Content.__struct_fields__
_WRITTEN = (*_CONTENT, "wordless", "search")
"""The columns that a sync writes; the last two are made of the text (docs/decisions/0022-words-of-messages.md)."""


class LockedConversation(Struct, frozen=True, kw_only=True):
    """A conversation, and the handles of who is known to have been in it (`participants`) and who is in it now (`present`).

    `is_direct_chat`: whether the identifier that it was looked for by is known as that of a chat with one person.
    """

    id: UUID
    display_name: str | None
    is_group: bool
    is_direct_chat: bool
    participants: list[str]
    present: list[str]


class FoundChat(Struct, frozen=True, kw_only=True):
    """What is known of a chat identifier: its conversation, and whether it `is_known` as that of a chat with one person."""

    conversation_id: UUID | None
    is_known: bool


# Conversations

LOCK_CONVERSATION = """
    select id, display_name, is_group,
           exists (select from direct_chat where account_id = $1 and imessage_id = $2) as is_direct_chat,
           array(select handle from participant where conversation_id = conversation.id) as participants,
           array(select handle from participant where conversation_id = conversation.id and left_at is null) as present
    from conversation where account_id = $1 and id = coalesce(
        (select conversation_id from direct_chat where account_id = $1 and imessage_id = $2),
        (select known.id from conversation known where known.account_id = $1 and known.imessage_id = $2)
    )
    for no key update
"""
# `do update` because, unlike `do nothing`, it locks and returns a row that another batch made a moment ago.
ADD_CONVERSATION = """
    insert into conversation (id, account_id, imessage_id, display_name, is_group, created_at, updated_at)
    values ($3, $1, $2, $4, $5, now(), now())
    on conflict on constraint conversation_thread do update set updated_at = now()
    returning id, display_name, is_group, false as is_direct_chat, array[]::text[] as participants, array[]::text[] as present
"""
HOLD_CONVERSATIONS = "select id from conversation where account_id = $1 and id = any($2::uuid[]) order by id for no key update"
NAME_CONVERSATION = "update conversation set display_name = $3, is_group = $4, updated_at = now() where account_id = $1 and id = $2"
COUNT = """
    update conversation set
        message_count = message_count + $3,
        stored_bytes = greatest(stored_bytes + $4, 0),
        (last_message_id, last_message_at) = (
            select id, sent_at from message where conversation_id = conversation.id order by sent_at desc, id desc limit 1
        ),
        updated_at = now()
    where account_id = $1 and id = $2
"""
COUNT_IN_CHAT = """
    update direct_chat set
        message_count = message_count + $4,
        (last_message_at, last_message_id) = (
            select sent_at, id from (values (last_message_at, last_message_id), ($5::timestamptz, $6::uuid)) last (sent_at, id)
            order by sent_at desc nulls last, id desc limit 1
        )
    where account_id = $1 and conversation_id = $2 and imessage_id = $3
"""
STATE = """
    with chat as (
        select id as conversation_id, imessage_id, message_count, last_message_id, last_message_at from conversation
        where account_id = $1 and not exists (select from direct_chat where conversation_id = conversation.id)
        union all
        select conversation_id, imessage_id, message_count, last_message_id, last_message_at from direct_chat where account_id = $1
    )
    select chat.imessage_id as conversation_imessage_id, chat.conversation_id, chat.message_count,
           message.imessage_guid as last_message_guid, coalesce(message.sent_at, chat.last_message_at) as last_sent_at
    from chat left join message on message.account_id = $1 and message.id = chat.last_message_id
    order by last_sent_at desc nulls last, chat.conversation_id desc, chat.imessage_id
"""


async def lock_conversation(db: Db, account_id: UUID, imessage_id: str) -> LockedConversation | None:
    """A known conversation, locked until the transaction ends."""
    row = await db.fetchrow(LOCK_CONVERSATION, account_id, imessage_id)
    return None if row is None else LockedConversation(**row)


async def add_conversation(db: Db, account_id: UUID, imessage_id: str, display_name: str | None, is_group: bool) -> LockedConversation:
    """A new conversation, locked; or, if another batch has just made it, that one."""
    row = await db.fetchrow(ADD_CONVERSATION, account_id, imessage_id, new_id(), display_name, is_group)
    assert row is not None
    return LockedConversation(**row)


async def hold_conversations(db: Db, account_id: UUID, conversation_ids: Collection[UUID]) -> None:
    """Lock conversations until the transaction ends, in one order."""
    await db.execute(HOLD_CONVERSATIONS, account_id, list(conversation_ids))


async def name_conversation(db: Db, account_id: UUID, conversation_id: UUID, display_name: str | None, is_group: bool) -> None:
    await db.execute(NAME_CONVERSATION, account_id, conversation_id, display_name, is_group)


async def count(db: Db, account_id: UUID, conversation_id: UUID, *, messages: int = 0, size: int = 0) -> None:
    """Count messages that came into a conversation, and bytes that it takes now or gives back; look up its last message anew."""
    await db.execute(COUNT, account_id, conversation_id, messages, size)


async def count_in_chat(
    db: Db, account_id: UUID, conversation_id: UUID, imessage_id: str, *, messages: int, last: tuple[datetime, UUID]
) -> None:
    """Count messages that came under an identifier of a chat with one person; `last` is the time and id of the last of them."""
    await db.execute(COUNT_IN_CHAT, account_id, conversation_id, imessage_id, messages, *last)


async def state(db: Db, account_id: UUID) -> list[ThreadState]:
    """How far each chat is synced, latest first."""
    return [ThreadState(**row) for row in await db.fetch(STATE, account_id)]


# Participants

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
    with known as (
        select person.id, person.handle = any($3::text[]) or exists (
            select from participant listed
            where listed.conversation_id = $2 and listed.contact_id = person.contact_id and listed.handle = any($3::text[])
        ) as is_here
        from participant person join conversation on conversation.account_id = $1 and conversation.id = person.conversation_id
        where person.conversation_id = $2
    )
    update participant set left_at = case when known.is_here then null else now() end
    from known
    where participant.id = known.id and (participant.left_at is null) <> known.is_here
"""


async def share_contacts(db: Db, account_id: UUID) -> None:
    """Let nobody change the account's contacts until the transaction ends: before its participants are changed."""
    await db.execute(SHARE_CONTACTS, account_id)


async def add_participants(db: Db, account_id: UUID, conversation_id: UUID, handles: Sequence[str]) -> None:
    """Add participants, each with the contact that its handle means, if it means one."""
    await db.execute(ADD_PARTICIPANTS, account_id, conversation_id, [new_id() for _ in handles], handles)


async def move_participants(db: Db, account_id: UUID, conversation_id: UUID, listed: Sequence[str]) -> None:
    """Note who is in a conversation, and that the others have left it."""
    await db.execute(MOVE_PARTICIPANTS, account_id, conversation_id, listed)


# Messages

# In the order of their guids, so that batches that share some (of two conversations of an account) cannot wait for each other in a circle.
INSERT = f"""
    insert into message (account_id, conversation_id, id, imessage_guid, {", ".join(_WRITTEN)})
    select $1, $2, id, imessage_guid, {", ".join(_WRITTEN)}
    from jsonb_populate_recordset(null::message, $3)
    order by imessage_guid
    on conflict on constraint message_guid do nothing
    returning imessage_guid
"""
FIND_KNOWN = f"""
    select id, conversation_id, imessage_guid, {", ".join(_CONTENT)} from message
    where account_id = $1 and imessage_guid = any($2::text[])
    order by imessage_guid
    for no key update
"""
UPDATE = f"""
    update message set {", ".join(f"{column} = changed.{column}" for column in _WRITTEN)}
    from jsonb_populate_recordset(null::message, $2) changed
    where message.account_id = $1 and message.id = changed.id
"""


async def insert_messages(
    db: Db, account_id: UUID, conversation_id: UUID, ids: Mapping[str, UUID], contents: Mapping[str, Content]
) -> set[str]:
    """Store the messages whose guid is new and return these guids; known messages stay untouched. Both maps are by guid."""
    rows = [{"id": ids[guid], "imessage_guid": guid, **_columns(content)} for guid, content in contents.items()]
    return {row["imessage_guid"] for row in await db.fetch(INSERT, account_id, conversation_id, rows)}


async def find_known(db: Db, account_id: UUID, guids: Iterable[str]) -> dict[str, KnownMessage]:
    """Stored messages by guid, locked until the transaction ends."""
    rows = await db.fetch(FIND_KNOWN, account_id, list(guids))
    return {
        row["imessage_guid"]: KnownMessage(
            id=row["id"], conversation_id=row["conversation_id"], content=msgspec.convert(dict(row), Content)
        )
        for row in rows
    }


async def update_messages(db: Db, account_id: UUID, contents: Mapping[UUID, Content]) -> None:
    """Replace the content of messages."""
    await db.execute(UPDATE, account_id, [{"id": message_id, **_columns(content)} for message_id, content in contents.items()])


def _columns(content: Content) -> dict[str, Any]:
    """A message's content and what is known by it."""
    return {
        **asdict(content),
        "wordless": is_wordless(content.text, content.associated_message_type),
        "search": search_document(content.text),
    }


# Chats with one person

LOCK_DIRECT_CHATS = "select pg_advisory_xact_lock(hashtextextended('direct chats of ' || $1::uuid, 0))"
FIND_CHAT = """
    select coalesce(direct_chat.conversation_id, conversation.id) as conversation_id, direct_chat.id is not null as is_known
    from (select $2::text as imessage_id) wanted
    left join direct_chat on direct_chat.account_id = $1 and direct_chat.imessage_id = wanted.imessage_id
    left join conversation on conversation.account_id = $1 and conversation.imessage_id = wanted.imessage_id
"""
# A handle that several contacts have means none of them.
_MEANS_ONE = """
    not exists (
        select from contact_handle other
        where other.account_id = $1 and other.handle = own.handle and other.contact_id <> own.contact_id
    )
"""
_CONVERSATIONS = """
    join direct_chat on direct_chat.account_id = $1 and direct_chat.peer = own.handle
    join conversation on conversation.account_id = $1 and conversation.id = direct_chat.conversation_id and not conversation.is_group
"""
WITH_PEER = f"""
    with own as (
        select $2::text as handle
        union
        select own.handle from contact_handle given
        join contact_handle own on own.account_id = $1 and own.contact_id = given.contact_id
        where given.account_id = $1 and given.handle = $2 and {_MEANS_ONE} and not exists (
            select from contact_handle other
            where other.account_id = $1 and other.handle = $2 and other.contact_id <> given.contact_id
        )
    )
    select distinct conversation.id from own {_CONVERSATIONS}
"""
WITH_A_CONTACT = f"""
    select array_agg(distinct conversation.id) as conversation_ids
    from contact_handle own {_CONVERSATIONS}
    where own.account_id = $1 and own.contact_id = any($2::uuid[]) and {_MEANS_ONE}
    group by own.contact_id
    having count(distinct conversation.id) > 1
    order by own.contact_id limit 1
"""
HOLD_DIRECT = """
    select id, message_count from conversation where account_id = $1 and id = any($2::uuid[]) and not is_group order by id for update
"""
ADD_CHAT = "insert into direct_chat (id, account_id, imessage_id, peer, conversation_id) values ($3, $1, $2, $4, $5)"
# What is known of a conversation came under the one identifier that it had.
ADD_KNOWN_CHAT = """
    insert into direct_chat (id, account_id, imessage_id, peer, conversation_id, message_count, last_message_id, last_message_at)
    select $3, $1, $2, $4, id, message_count, last_message_id, last_message_at from conversation where account_id = $1 and id = $5
"""
# Messages are read by their conversation alone, which is held (docs/decisions/0003-sql.md); in the order of their guids, as batches of
# other conversations take those that they have copies of.
HOLD_MESSAGES = "select count(*) from (select from message where conversation_id = $1 order by imessage_guid for no key update) held"
MOVE_MESSAGES = "update message set conversation_id = $2 where conversation_id = $1"
MOVE_CHATS = "update direct_chat set conversation_id = $3 where account_id = $1 and conversation_id = $2"
MOVE_FORMER = "update former_conversation set conversation_id = $3 where account_id = $1 and conversation_id = $2"
ADD_FORMER = "insert into former_conversation (id, account_id, conversation_id) values ($2, $1, $3)"
MERGE_PARTICIPANTS = """
    update participant set conversation_id = $3
    from conversation
    where conversation.account_id = $1 and conversation.id = $2 and participant.conversation_id = $2 and not exists (
        select from participant there where there.conversation_id = $3 and there.handle = participant.handle
    )
"""
ADD_UP = """
    update conversation set
        display_name = coalesce(conversation.display_name, gone.display_name),
        message_count = conversation.message_count + gone.message_count,
        stored_bytes = conversation.stored_bytes + gone.stored_bytes,
        created_at = least(conversation.created_at, gone.created_at)
    from conversation gone
    where conversation.account_id = $1 and conversation.id = $3 and gone.account_id = $1 and gone.id = $2
"""
REMOVE = "delete from conversation where account_id = $1 and id = $2"


async def lock_direct_chats(db: Db, account_id: UUID) -> None:
    """Let nobody else add direct chats or merge conversations of the account until the transaction ends: before any of them is held."""
    await db.execute(LOCK_DIRECT_CHATS, account_id)


async def find_chat(db: Db, account_id: UUID, imessage_id: str) -> FoundChat:
    row = await db.fetchrow(FIND_CHAT, account_id, imessage_id)
    assert row is not None
    return FoundChat(**row)


async def conversations_with_peer(db: Db, account_id: UUID, peer: str) -> set[UUID]:
    """Conversations with nobody but this person: under this handle, or another one of the contact that it means."""
    return {row["id"] for row in await db.fetch(WITH_PEER, account_id, peer)}


async def conversations_with_a_contact(db: Db, account_id: UUID, contact_ids: Sequence[UUID]) -> list[UUID]:
    """The conversations with the first of these contacts with whom there are several."""
    return list(await db.fetchval(WITH_A_CONTACT, account_id, contact_ids) or ())


async def hold_direct(db: Db, account_id: UUID, conversation_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Lock conversations with one person until the transaction ends, in one order; how many messages each has that is there."""
    return {row["id"]: row["message_count"] for row in await db.fetch(HOLD_DIRECT, account_id, list(conversation_ids))}


async def add_chat(db: Db, account_id: UUID, imessage_id: str, peer: str, conversation_id: UUID) -> None:
    """Another identifier of a conversation."""
    await db.execute(ADD_CHAT, account_id, imessage_id, new_id(), peer, conversation_id)


async def add_known_chat(db: Db, account_id: UUID, imessage_id: str, peer: str, conversation_id: UUID) -> None:
    """The identifier that a conversation has had so far."""
    await db.execute(ADD_KNOWN_CHAT, account_id, imessage_id, new_id(), peer, conversation_id)


async def merge(db: Db, account_id: UUID, gone: UUID, into: UUID) -> None:
    """Make a conversation part of another one, after what others keep of it was moved; both are held."""
    await db.execute(HOLD_MESSAGES, gone, timeout=_MERGE_SECONDS)
    await db.execute(MOVE_MESSAGES, gone, into, timeout=_MERGE_SECONDS)
    for statement in (MERGE_PARTICIPANTS, MOVE_CHATS, MOVE_FORMER, ADD_FORMER, ADD_UP):
        await db.execute(statement, account_id, gone, into)
    await db.execute(REMOVE, account_id, gone)
    await count(db, account_id, into)
