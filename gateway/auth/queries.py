from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.database import Db

# Of several devices, whosever they are: each is asked for with its own account.
DEVICE_STATES = """
    select device.status, device.tokens_valid_after, coalesce(device.last_seen_at < now() - interval '1 minute', true) as stale
    from unnest($1::uuid[], $2::uuid[]) with ordinality as wanted (account_id, id, number)
    left join device on device.account_id = wanted.account_id and device.id = wanted.id
    order by wanted.number
"""
# The time is for people: once a minute is enough, and spares a write per request. A device that somebody is changing just now is left
# alone, or its requests would wait for that change.
TOUCH = """
    update device set last_seen_at = now() where id in (
        select id from device where account_id = $1 and id = $2 and coalesce(last_seen_at < now() - interval '1 minute', true)
        for no key update skip locked
    )
"""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What the database says of a token's device. Tokens that were issued up to `tokens_valid_after` are void."""

    status: str
    tokens_valid_after: datetime | None
    stale: bool
    """Whether it is a minute ago, or more, that it was noted as seen."""


async def device_states(db: Db, account_ids: Sequence[UUID], device_ids: Sequence[UUID]) -> list[DeviceState | None]:
    """The states of devices, in the order asked; None where there is no such device."""
    rows = await db.fetch(DEVICE_STATES, account_ids, device_ids)
    return [DeviceState(**row) if row["status"] is not None else None for row in rows]


async def touch(db: Db, account_id: UUID, device_id: UUID) -> None:
    """Note that a device was seen now, unless that was noted within the minute."""
    await db.execute(TOUCH, account_id, device_id)
