from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from gateway.database import Db
from shared.ids import new_id


class Claim(NamedTuple):
    """The claim of a request to its key. `created_id` is for what it creates: a repetition after its gateway died has the same."""

    id: UUID
    created_id: UUID


# A first request that died without an answer must not block its key: one that runs renews its claim every few seconds.
CLAIM = """
    insert into idempotent_answer as known (id, created_id, owner, key_hash, fingerprint, created_at) values ($1, $1, $2, $3, $4, now())
    on conflict (owner, key_hash) do update
        set id = excluded.id, fingerprint = excluded.fingerprint, answer = null, created_at = now(), created_id =
            case when known.answer is null and known.fingerprint = excluded.fingerprint then known.created_id else excluded.created_id end
        where known.created_at < now() - interval '24 hours'
           or (known.answer is null and known.created_at < now() - interval '15 seconds')
    returning id, created_id
"""
FIND = "select fingerprint, answer from idempotent_answer where owner = $1 and key_hash = $2"
RENEW = "update idempotent_answer set created_at = now() where id = $1"
# By the claim's own id: a request that took so long that another one took its key over must not touch that one's row.
KEEP = "update idempotent_answer set answer = $2 where id = $1"
RELEASE = "delete from idempotent_answer where id = $1"
# A request that runs must not be answered from what it will leave, nor be let through a second time: its row stays, as nobody's.
FORGET = """
    with kept as (delete from idempotent_answer where owner = $1 and answer is not null)
    update idempotent_answer set id = gen_random_uuid() where owner = $1 and answer is null
"""
FORGET_OLD = "delete from idempotent_answer where created_at < now() - interval '24 hours'"


async def claim(db: Db, owner: str, key_hash: bytes, fingerprint: bytes) -> Claim | None:
    """The claim of the one request that may run; None when the key is known."""
    row = await db.fetchrow(CLAIM, new_id(), owner, key_hash, fingerprint)
    return Claim(**row) if row else None


async def find(db: Db, owner: str, key_hash: bytes) -> Record | None:
    return await db.fetchrow(FIND, owner, key_hash)


async def renew(db: Db, claim_id: UUID) -> None:
    """Say that the request still runs."""
    await db.execute(RENEW, claim_id)


async def keep(db: Db, claim_id: UUID, answer: bytes) -> None:
    await db.execute(KEEP, claim_id, answer)


async def release(db: Db, claim_id: UUID) -> None:
    await db.execute(RELEASE, claim_id)


async def forget(db: Db, owner: str) -> None:
    """Forget what an owner was answered; what is being answered will not be kept."""
    await db.execute(FORGET, owner)


async def forget_old(db: Db) -> None:
    await db.execute(FORGET_OLD)
