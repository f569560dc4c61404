from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from gateway.database import Db
from shared.contracts.generation import Turn

ADD = """
    insert into sample
        (account_id, id, conversation_id, response_id, source, messages, message_ids, output, rejected_output, quality, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
COUNT = "select count(*) from sample where account_id = $1"
PAGE = """
    select id, source, messages, output, rejected_output, quality, conversation_id, response_id, created_at
    from sample where account_id = $1
    order by created_at desc, id desc limit $2 offset $3
"""
DELETE = "delete from sample where account_id = $1 and id = $2 returning id"
FORGET = "delete from sample where account_id = $1 and conversation_id = $2 and message_ids && $3"


async def add(
    db: Db,
    account_id: UUID,
    sample_id: UUID,
    *,
    conversation_id: UUID,
    response_id: UUID | None,
    source: str,
    turns: Sequence[Turn],
    message_ids: Sequence[UUID],
    output: str | None,
    rejected_output: str | None,
    quality: float,
    created_at: datetime,
) -> None:
    await db.execute(
        ADD, account_id, sample_id, conversation_id, response_id, source, turns, message_ids, output, rejected_output, quality, created_at
    )


async def count(db: Db, account_id: UUID) -> int:
    return int(await db.fetchval(COUNT, account_id))


async def page(db: Db, account_id: UUID, limit: int, offset: int) -> list[Record]:
    return list(await db.fetch(PAGE, account_id, limit, offset))


async def delete(db: Db, account_id: UUID, sample_id: UUID) -> bool:
    return await db.fetchval(DELETE, account_id, sample_id) is not None


async def forget(db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID]) -> None:
    """Remove a conversation's samples whose prompt has any of these messages in it."""
    await db.execute(FORGET, account_id, conversation_id, message_ids)
