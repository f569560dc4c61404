from uuid import UUID

from gateway.database import Db

# The last-seen time is for people: once a minute is enough, and spares a write per request.
DEVICE_STATUS = """
    select status, coalesce(last_seen_at < now() - interval '1 minute', true) as stale
    from device where account_id = $1 and id = $2
"""
TOUCH = "update device set last_seen_at = now() where account_id = $1 and id = $2"


async def device_status(db: Db, account_id: UUID, device_id: UUID) -> str | None:
    """The device's status and, at most once a minute, a note that it was seen; None when there is no such device."""
    row = await db.fetchrow(DEVICE_STATUS, account_id, device_id)
    if row is None:
        return None
    if row["stale"]:
        await db.execute(TOUCH, account_id, device_id)
    return str(row["status"])
