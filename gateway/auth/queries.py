from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.database import Db

# Of several devices, whosever they are: each is asked for with its own account.
STANDINGS = """
    select device.status, device.tokens_valid_after, coalesce(device.last_seen_at < now() - interval '1 minute', true) as stale
    from unnest($1::uuid[], $2::uuid[]) with ordinality as wanted (account_id, id, number)
    left join device on device.account_id = wanted.account_id and device.id = wanted.id
    order by wanted.number
"""
# The time is for people: once a minute is enough, and spares a write per request. A device that somebody is changing just now is left
# alone, or everybody's requests would wait for that change.
TOUCH = """
    update device set last_seen_at = now() where id in (
        select device.id from device join unnest($1::uuid[], $2::uuid[]) as seen (account_id, id) using (account_id, id)
        where coalesce(device.last_seen_at < now() - interval '1 minute', true)
        for no key update of device skip locked
    )
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says of a token's device. Tokens that were issued up to `tokens_valid_after` are void."""

    status: str
    tokens_valid_after: datetime | None
    stale: bool
    """Whether it is a minute ago, or more, that it was noted as seen."""


async def standings(db: Db, account_ids: Sequence[UUID], device_ids: Sequence[UUID]) -> list[Standing | None]:
    """How devices stand, in the order asked; None where there is no such device."""
    rows = await db.fetch(STANDINGS, account_ids, device_ids)
    return [
        Standing(status=row["status"], tokens_valid_after=row["tokens_valid_after"], stale=row["stale"])
        if row["status"] is not None
        else None
        for row in rows
    ]


async def touch(db: Db, account_ids: Sequence[UUID], device_ids: Sequence[UUID]) -> None:
    """Note that those of the devices were seen for which that was not noted for a minute."""
    await db.execute(TOUCH, account_ids, device_ids)
