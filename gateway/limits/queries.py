from uuid import UUID

from gateway.database import Db

# Both are kept by whoever stores and deletes, because adding up an account's messages takes seconds. Deleting a thread deletes its count.
STORED_BYTES = """
    select sample_bytes + (select coalesce(sum(stored_bytes), 0) from conversation where account_id = $1) from account where id = $1
"""


async def stored_bytes(db: Db, account_id: UUID) -> int:
    """How much the account stores: an estimate, with 500 bytes for each message and sample beside its text."""
    return int(await db.fetchval(STORED_BYTES, account_id) or 0)
