from asyncpg import Record

from gateway.database import Db
from shared.ids import new_id

# A first request that died without an answer must not block its key for ever: after this long it may be tried again.
CLAIM = """
    insert into idempotent_answer (id, scope, key_hash, fingerprint, created_at) values ($1, $2, $3, $4, now())
    on conflict on constraint idempotent_answer_key do update
        set fingerprint = excluded.fingerprint, status = null, answer = null, created_at = now()
        where idempotent_answer.created_at < now() - interval '24 hours'
           or (idempotent_answer.status is null and idempotent_answer.created_at < now() - interval '10 minutes')
    returning id
"""
FIND = "select fingerprint, status, answer from idempotent_answer where scope = $1 and key_hash = $2"
KEEP = "update idempotent_answer set status = $3, answer = $4 where scope = $1 and key_hash = $2"
RELEASE = "delete from idempotent_answer where scope = $1 and key_hash = $2 and status is null"
FORGET_OLD = "delete from idempotent_answer where created_at < now() - interval '24 hours'"


async def claim(db: Db, scope: str, key_hash: bytes, fingerprint: bytes) -> bool:
    """True for the one request that may run; False when the key is known."""
    return await db.fetchval(CLAIM, new_id(), scope, key_hash, fingerprint) is not None


async def find(db: Db, scope: str, key_hash: bytes) -> Record | None:
    return await db.fetchrow(FIND, scope, key_hash)


async def keep(db: Db, scope: str, key_hash: bytes, status: int, answer: bytes) -> None:
    await db.execute(KEEP, scope, key_hash, status, answer)


async def release(db: Db, scope: str, key_hash: bytes) -> None:
    await db.execute(RELEASE, scope, key_hash)


async def forget_old(db: Db) -> None:
    await db.execute(FORGET_OLD)
