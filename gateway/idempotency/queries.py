from uuid import UUID

from asyncpg import Record

from gateway.database import Db
from shared.ids import new_id

# A first request that died without an answer must not block its key: one that runs gives signs of life every few seconds.
CLAIM = """
    insert into idempotent_answer (id, scope, key_hash, fingerprint, created_at) values ($1, $2, $3, $4, now())
    on conflict on constraint idempotent_answer_key do update
        set id = excluded.id, fingerprint = excluded.fingerprint, status = null, answer = null, created_at = now()
        where idempotent_answer.created_at < now() - interval '24 hours'
           or (idempotent_answer.status is null and idempotent_answer.created_at < now() - interval '15 seconds')
    returning id
"""
FIND = "select fingerprint, status, answer from idempotent_answer where scope = $1 and key_hash = $2"
RENEW = "update idempotent_answer set created_at = now() where id = $1"
# By the claim's own id: a request that took so long that another one took its key over must not touch that one's row.
KEEP = "update idempotent_answer set status = $2, answer = $3 where id = $1"
RELEASE = "delete from idempotent_answer where id = $1"
# A request that runs must not be answered from what it will leave, nor be let through a second time: its row stays, as nobody's.
FORGET = """
    with kept as (delete from idempotent_answer where scope = $1 and status is not null)
    update idempotent_answer set id = gen_random_uuid() where scope = $1 and status is null
"""
FORGET_OLD = "delete from idempotent_answer where created_at < now() - interval '24 hours'"


async def claim(db: Db, scope: str, key_hash: bytes, fingerprint: bytes) -> UUID | None:
    """The claim of the one request that may run; None when the key is known."""
    claim_id: UUID | None = await db.fetchval(CLAIM, new_id(), scope, key_hash, fingerprint)
    return claim_id


async def find(db: Db, scope: str, key_hash: bytes) -> Record | None:
    return await db.fetchrow(FIND, scope, key_hash)


async def renew(db: Db, claim_id: UUID) -> None:
    """Say that the request still runs."""
    await db.execute(RENEW, claim_id)


async def keep(db: Db, claim_id: UUID, status: int, answer: bytes) -> None:
    await db.execute(KEEP, claim_id, status, answer)


async def release(db: Db, claim_id: UUID) -> None:
    await db.execute(RELEASE, claim_id)


async def forget(db: Db, scope: str) -> None:
    """Forget what a scope was answered; what is being answered will not be kept."""
    await db.execute(FORGET, scope)


async def forget_old(db: Db) -> None:
    await db.execute(FORGET_OLD)
