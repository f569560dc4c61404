"""SQL of direct chats and of the conversations that they are. Who adds chats or merges conversations does so under one lock an account."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from asyncpg import Record

from gateway.database import Db
from shared.ids import new_id

_MERGE_SECONDS = 600  # of messages, each of which is written anew with all its index entries

LOCK = "select pg_advisory_xact_lock(hashtextextended('direct chats of ' || $1::uuid, 0))"
FIND = """
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
HOLD = """
    select id, message_count from conversation where account_id = $1 and id = any($2::uuid[]) and not is_group order by id for update
"""
ADD = """
    insert into direct_chat (id, account_id, imessage_id, peer, conversation_id) values ($3, $1, $2, $4, $5)
"""
# What is known of a conversation came under the one identifier that it had.
ADD_KNOWN = """
    insert into direct_chat (id, account_id, imessage_id, peer, conversation_id, message_count, last_message_id, last_message_at)
    select $3, $1, $2, $4, id, message_count, last_message_id, last_message_at from conversation where account_id = $1 and id = $5
"""

# In the order of their guids, as batches of other threads take those that they have copies of.
HOLD_MESSAGES = "select count(*) from (select from message where conversation_id = $1 order by imessage_guid for no key update) held"
MOVE_MESSAGES = "update message set conversation_id = $2 where conversation_id = $1"
MOVE_PARTICIPANTS = """
    update participant set conversation_id = $2
    where conversation_id = $1 and not exists (
        select from participant there where there.conversation_id = $2 and there.handle = participant.handle
    )
"""
MOVE_CHATS = "update direct_chat set conversation_id = $2 where conversation_id = $1"
MOVE_FORMER = "update former_conversation set conversation_id = $2 where conversation_id = $1"
ADD_FORMER = "insert into former_conversation (id, account_id, conversation_id) values ($2, $1, $3)"
ADD_UP = """
    update conversation set
        display_name = coalesce(conversation.display_name, gone.display_name),
        message_count = conversation.message_count + gone.message_count,
        stored_bytes = conversation.stored_bytes + gone.stored_bytes,
        (last_message_at, last_message_id) = (
            select sent_at, id from (values
                (conversation.last_message_at, conversation.last_message_id), (gone.last_message_at, gone.last_message_id)
            ) last (sent_at, id)
            order by sent_at desc nulls last, id desc limit 1
        ),
        created_at = least(conversation.created_at, gone.created_at),
        updated_at = now()
    from conversation gone
    where conversation.account_id = $1 and conversation.id = $3 and gone.account_id = $1 and gone.id = $2
"""
REMOVE = "delete from conversation where account_id = $1 and id = $2"


async def lock(db: Db, account_id: UUID) -> None:
    """Let nobody else add direct chats or merge conversations of the account until the transaction ends: before any of them is held."""
    await db.execute(LOCK, account_id)


async def find(db: Db, account_id: UUID, imessage_id: str) -> Record:
    """The `conversation_id` of a chat identifier, if there is one, and whether the direct chat `is_known`."""
    row = await db.fetchrow(FIND, account_id, imessage_id)
    assert row is not None
    return row


async def with_peer(db: Db, account_id: UUID, peer: str) -> set[UUID]:
    """Conversations with nobody but this person: under this handle, or another one of the contact that it means."""
    return {row["id"] for row in await db.fetch(WITH_PEER, account_id, peer)}


async def with_a_contact(db: Db, account_id: UUID, contact_ids: Sequence[UUID]) -> list[UUID]:
    """The conversations with the first of these contacts with whom there are several."""
    return list(await db.fetchval(WITH_A_CONTACT, account_id, contact_ids) or ())


async def hold(db: Db, account_id: UUID, conversation_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Lock conversations with one person until the transaction ends, in one order; how many messages each has that is there."""
    return {row["id"]: row["message_count"] for row in await db.fetch(HOLD, account_id, list(conversation_ids))}


async def add(db: Db, account_id: UUID, imessage_id: str, peer: str, conversation_id: UUID) -> None:
    """Another identifier of a conversation."""
    await db.execute(ADD, account_id, imessage_id, new_id(), peer, conversation_id)


async def add_known(db: Db, account_id: UUID, imessage_id: str, peer: str, conversation_id: UUID) -> None:
    """The identifier that a conversation has had so far."""
    await db.execute(ADD_KNOWN, account_id, imessage_id, new_id(), peer, conversation_id)


async def merge(db: Db, account_id: UUID, gone: UUID, into: UUID) -> None:
    """Make a conversation part of another one, after what others keep of it was moved; both are held."""
    await db.execute(HOLD_MESSAGES, gone, timeout=_MERGE_SECONDS)
    await db.execute(MOVE_MESSAGES, gone, into, timeout=_MERGE_SECONDS)
    for statement in (MOVE_PARTICIPANTS, MOVE_CHATS, MOVE_FORMER):
        await db.execute(statement, gone, into)
    await db.execute(ADD_FORMER, account_id, gone, into)
    await db.execute(ADD_UP, account_id, gone, into)
    await db.execute(REMOVE, account_id, gone)
