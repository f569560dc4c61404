"""SQL of syncing contacts. All of it runs under one lock for the account's contacts."""

from collections.abc import Sequence
from uuid import UUID

from gateway.database import Db
from gateway.sync.matching import KnownContact
from shared.ids import new_id

LOCK = "select pg_advisory_xact_lock(hashtextextended('contacts of ' || $1::uuid, 0))"
OWNERS = """
    select contact_handle.handle, contact.id, apple_id, phone_number, email, display_name, avatar_hash
    from contact_handle join contact on contact.account_id = $1 and contact.id = contact_handle.contact_id
    where contact_handle.account_id = $1 and contact_handle.handle = any($2::text[])
"""
ADD = """
    insert into contact (account_id, id, apple_id, phone_number, email, display_name, avatar_hash, created_at, updated_at)
    select $1, card.*, now(), now()
    from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) card
"""
CHANGE = """
    update contact set
        apple_id = card.apple_id, phone_number = card.phone_number, email = card.email, display_name = card.display_name,
        avatar_hash = card.avatar_hash, updated_at = now()
    from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
        card (id, apple_id, phone_number, email, display_name, avatar_hash)
    where contact.account_id = $1 and contact.id = card.id
"""
ADD_HANDLES = """
    insert into contact_handle (id, account_id, contact_id, handle)
    select handle.id, $1, handle.contact_id, handle.handle from unnest($2::uuid[], $3::uuid[], $4::text[]) handle (id, contact_id, handle)
"""
COUNT_HANDLES = "select count(*) from contact_handle where account_id = $1"
MOVE_HANDLES = """
    update contact_handle set contact_id = merged.older
    from unnest($2::uuid[], $3::uuid[]) merged (younger, older)
    where contact_handle.account_id = $1 and contact_handle.contact_id = merged.younger
"""
MOVE_PARTICIPANTS = """
    update participant set contact_id = merged.older
    from unnest($2::uuid[], $3::uuid[]) merged (younger, older)
    join contact on contact.account_id = $1 and contact.id = merged.younger
    where participant.contact_id = contact.id
"""
REMOVE = "delete from contact where account_id = $1 and id = any($2::uuid[])"
LINK_PARTICIPANTS = """
    update participant set contact_id = contact_handle.contact_id
    from conversation, contact_handle
    where conversation.account_id = $1 and participant.conversation_id = conversation.id and participant.contact_id is null
      and contact_handle.account_id = $1 and contact_handle.handle = participant.handle and contact_handle.handle = any($2::text[])
"""


async def lock(db: Db, account_id: UUID) -> None:
    """Let nobody else change the account's contacts until the transaction ends."""
    await db.execute(LOCK, account_id)


async def owners(db: Db, account_id: UUID, handles: Sequence[str]) -> dict[str, KnownContact]:
    """Known contacts by handle: one object a contact."""
    by_id: dict[UUID, KnownContact] = {}
    by_handle: dict[str, KnownContact] = {}
    for row in await db.fetch(OWNERS, account_id, handles):
        fields = dict(row)
        handle = fields.pop("handle")
        by_handle[handle] = by_id.setdefault(fields["id"], KnownContact(**fields))
    return by_handle


async def add(db: Db, account_id: UUID, contacts: list[KnownContact]) -> None:
    await db.execute(ADD, account_id, *_columns(contacts))


async def change(db: Db, account_id: UUID, contacts: list[KnownContact]) -> None:
    await db.execute(CHANGE, account_id, *_columns(contacts))


async def add_handles(db: Db, account_id: UUID, handles: dict[str, UUID]) -> None:
    await db.execute(ADD_HANDLES, account_id, [new_id() for _ in handles], list(handles.values()), list(handles))


async def count_handles(db: Db, account_id: UUID) -> int:
    return int(await db.fetchval(COUNT_HANDLES, account_id))


async def merge(db: Db, account_id: UUID, older_of: dict[UUID, UUID]) -> None:
    """Make contacts part of older ones: their handles and their places in conversations move, then they go."""
    younger, older = list(older_of), list(older_of.values())
    await db.execute(MOVE_HANDLES, account_id, younger, older)
    await db.execute(MOVE_PARTICIPANTS, account_id, younger, older)
    await db.execute(REMOVE, account_id, younger)


async def link_participants(db: Db, account_id: UUID, handles: Sequence[str]) -> None:
    """Give participants that were nobody the contact that their handle now means."""
    await db.execute(LINK_PARTICIPANTS, account_id, handles)


def _columns(contacts: list[KnownContact]) -> list[list[object]]:
    return [
        [getattr(contact, name) for contact in contacts]
        for name in ("id", "apple_id", "phone_number", "email", "display_name", "avatar_hash")
    ]
