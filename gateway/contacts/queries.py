"""SQL of syncing contacts. All of it runs under one lock for the account's contacts."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from msgspec.structs import asdict

from gateway.contacts.schemas import Contact
from gateway.database import Db

_COLUMNS = Contact.__struct_fields__

LOCK = "select pg_advisory_xact_lock(hashtextextended('contacts of ' || $1::uuid, 0))"
OWNERS = f"""
    select contact_handle.handle, {", ".join(f"contact.{column}" for column in _COLUMNS)}
    from contact_handle join contact on contact.account_id = $1 and contact.id = contact_handle.contact_id
    where contact_handle.account_id = $1 and contact_handle.handle = any($2::text[])
    order by contact.id
"""
STORE = f"""
    insert into contact (account_id, created_at, updated_at, {", ".join(_COLUMNS)})
    select $1, now(), now(), {", ".join(_COLUMNS)} from jsonb_populate_recordset(null::contact, $2)
    on conflict (id) do update set {", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)}, updated_at = now()
    where contact.account_id = $1
"""
ADD_HANDLES = """
    insert into contact_handle (id, account_id, contact_id, handle)
    select gen_random_uuid(), $1, added.contact_id, added.handle from unnest($2::uuid[], $3::text[]) added (contact_id, handle)
    on conflict on constraint contact_handle_owner do nothing
"""
COUNT_HANDLES = "select count(*) from contact_handle where account_id = $1"
# Several contacts that become one may have had a handle in common.
MOVE_HANDLES = """
    insert into contact_handle (id, account_id, contact_id, handle)
    select gen_random_uuid(), $1, merged.older, contact_handle.handle
    from unnest($2::uuid[], $3::uuid[]) merged (younger, older)
    join contact_handle on contact_handle.account_id = $1 and contact_handle.contact_id = merged.younger
    on conflict on constraint contact_handle_owner do nothing
"""
REMOVE = "delete from contact where account_id = $1 and id = any($2::uuid[])"
# A handle that several contacts have means none of them.
LINK_PARTICIPANTS = """
    with changed as (
        select unnest($2::text[]) as handle
        union
        select handle from contact_handle where account_id = $1 and contact_id = any($3::uuid[])
    ), meant as (
        select changed.handle, case when count(*) = 1 then min(contact_handle.contact_id::text)::uuid end as contact_id
        from changed join contact_handle on contact_handle.account_id = $1 and contact_handle.handle = changed.handle
        group by changed.handle
    )
    update participant set contact_id = meant.contact_id
    from conversation, meant
    where conversation.account_id = $1 and participant.conversation_id = conversation.id and participant.handle = meant.handle
      and participant.contact_id is distinct from meant.contact_id
"""


async def lock(db: Db, account_id: UUID) -> None:
    """Let nobody else change the account's contacts until the transaction ends."""
    await db.execute(LOCK, account_id)


async def owners(db: Db, account_id: UUID, handles: Sequence[str]) -> dict[str, list[Contact]]:
    """Known contacts by handle."""
    found: defaultdict[str, list[Contact]] = defaultdict(list)
    for handle, *columns in await db.fetch(OWNERS, account_id, handles):
        found[handle].append(Contact(**dict(zip(_COLUMNS, columns, strict=True))))
    return found


async def store(db: Db, account_id: UUID, contacts: Sequence[Contact]) -> None:
    await db.execute(STORE, account_id, [asdict(contact) for contact in contacts])


async def add_handles(db: Db, account_id: UUID, handles: Sequence[tuple[str, UUID]]) -> None:
    await db.execute(ADD_HANDLES, account_id, [contact_id for _, contact_id in handles], [handle for handle, _ in handles])


async def count_handles(db: Db, account_id: UUID) -> int:
    return int(await db.fetchval(COUNT_HANDLES, account_id))


async def move_handles(db: Db, account_id: UUID, older_of: dict[UUID, UUID]) -> None:
    await db.execute(MOVE_HANDLES, account_id, list(older_of), list(older_of.values()))


async def remove(db: Db, account_id: UUID, contact_ids: Sequence[UUID]) -> None:
    """Remove contacts, which have become part of others, and their handles."""
    await db.execute(REMOVE, account_id, contact_ids)


async def link_participants(db: Db, account_id: UUID, handles: Sequence[str], contact_ids: Sequence[UUID]) -> None:
    """Give participants with these handles, or with handles of these contacts, the contact that their handle means now."""
    await db.execute(LINK_PARTICIPANTS, account_id, handles, contact_ids)
