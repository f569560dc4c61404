from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.database import Db

# The last-seen time is for people: once a minute is enough, and spares a write per request.
STANDING = """
    select status, verified_at, coalesce(last_seen_at < now() - interval '1 minute', true) as stale
    from device where account_id = $1 and id = $2
"""
# For the open event streams of a process, whosever they are: each is asked for with its own account.
STANDINGS = """
    select device.status, device.verified_at
    from unnest($1::uuid[], $2::uuid[]) with ordinality as wanted (account_id, id, number)
    left join device on device.account_id = wanted.account_id and device.id = wanted.id
    order by wanted.number
"""
TOUCH = "update device set last_seen_at = now() where account_id = $1 and id = $2"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says of a token's device; `verified_at` is when it was last paired."""

    status: str
    verified_at: datetime | None


async def standing(db: Db, account_id: UUID, device_id: UUID) -> Standing | None:
    """How the device stands and, at most once a minute, a note that it was seen; None when there is no such device."""
    row = await db.fetchrow(STANDING, account_id, device_id)
    if row is None:
        return None
    if row["stale"]:
        await db.execute(TOUCH, account_id, device_id)
    return Standing(status=row["status"], verified_at=row["verified_at"])


async def standings(db: Db, account_ids: Sequence[UUID], device_ids: Sequence[UUID]) -> list[Standing | None]:
    """How several devices stand, in the order asked."""
    rows = await db.fetch(STANDINGS, account_ids, device_ids)
    return [Standing(status=row["status"], verified_at=row["verified_at"]) if row["status"] is not None else None for row in rows]
