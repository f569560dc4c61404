"""SQL of the devices. Pairing and refreshing happen before the account is known: those look a row up by what the caller holds."""

from datetime import datetime
from uuid import UUID

from asyncpg import Record

from gateway.database import Db
from gateway.devices.schemas import Device

NEW_ACCOUNT = "insert into account (id, created_at) values ($1, $2)"
ACCOUNT_EXISTS = "select exists (select from account where id = $1)"
# The same hardware under the same account is the same device. Its status stays: only a verification changes it.
REGISTER = """
    insert into device (id, account_id, name, hardware_id, platform, os_version, status, created_at)
    values ($2, $1, $3, $4, $5, $6, 'pending', $7)
    on conflict on constraint device_hardware do update
        set name = excluded.name, platform = excluded.platform, os_version = excluded.os_version
    returning id
"""
# Registrations of an account take turns, so that two at once do not both take the last place.
HOLD_ACCOUNT = "select from account where id = $1 for no key update"
# A deactivated one with a code is about to come back.
OTHER_DEVICES = """
    select count(*) from device where account_id = $1 and hardware_id <> $2 and (
        status <> 'deactivated'
        or exists (select from pairing_code where pairing_code.device_id = device.id and pairing_code.expires_at > now())
    )
"""
SET_CODE = """
    insert into pairing_code (device_id, code_hash, expires_at) values ($1, $2, $3)
    on conflict (device_id) do update set code_hash = excluded.code_hash, expires_at = excluded.expires_at
"""
# Whoever changes a device's codes or tokens holds its row first, and looks at them after that, in another statement: one that waited for
# the row would still see the codes and tokens from before it waited.
LOCK_DEVICE = "select account_id, status, verified_at, tokens_valid_after from device where id = $1 for no key update"
CODE = "select code_hash, expires_at from pairing_code where device_id = $1"
DROP_CODE = "delete from pairing_code where device_id = $1"
ACTIVATE = "update device set status = 'active', verified_at = $3, last_seen_at = $3 where account_id = $1 and id = $2"
REVOKE_OF_DEVICE = "update refresh_token set revoked_at = $2 where device_id = $1 and revoked_at is null"
REVOKE_FAMILY = "update refresh_token set revoked_at = $2 where family_id = $1 and revoked_at is null"
ADD_REFRESH = """
    insert into refresh_token (id, family_id, device_id, token_hash, created_at, expires_at) values ($1, $2, $3, $4, $5, $6)
"""
DEVICE_OF_REFRESH = "select device_id from refresh_token where token_hash = $1"
REFRESH = "select id, family_id, expires_at, used_at, revoked_at from refresh_token where token_hash = $1"
# An access token is as old as the refresh token that came with it. Those that another gateway has issued may be ahead of this one's clock.
VOID_TOKENS = """
    update device set tokens_valid_after = greatest(
        tokens_valid_after, $3, (select max(created_at) from refresh_token where device_id = device.id)
    )
    where account_id = $1 and id = $2 returning tokens_valid_after
"""
USE_REFRESH = "update refresh_token set used_at = $2 where id = $1"
_COLUMNS = "id, name, hardware_id, platform, os_version, status, id = $2 as current, created_at, verified_at, last_seen_at"
LIST = f"select {_COLUMNS} from device where account_id = $1 order by created_at, id"
DEACTIVATE = f"update device set status = 'deactivated' where account_id = $1 and id = $3 returning {_COLUMNS}"
FORGET_REFRESH = "delete from refresh_token where expires_at < now()"
# An expired code is kept for a day, so that who types it late is told why it fails.
FORGET_CODES = "delete from pairing_code where expires_at < now() - interval '1 day'"
FORGET_UNVERIFIED = """
    delete from account a where a.created_at < now() - interval '1 day'
        and not exists (select from device d where d.account_id = a.id and d.verified_at is not null)
        and not exists (select from device d join pairing_code c on c.device_id = d.id where d.account_id = a.id and c.expires_at > now())
"""


async def new_account(db: Db, account_id: UUID, now: datetime) -> None:
    await db.execute(NEW_ACCOUNT, account_id, now)


async def account_exists(db: Db, account_id: UUID) -> bool:
    return bool(await db.fetchval(ACCOUNT_EXISTS, account_id))


async def register(
    db: Db, account_id: UUID, device_id: UUID, name: str, hardware_id: str, platform: str, os_version: str, now: datetime
) -> UUID:
    """The id of the account's device with this hardware: `device_id` if it is a new one."""
    found: UUID = await db.fetchval(REGISTER, account_id, device_id, name, hardware_id, platform, os_version, now)
    return found


async def other_devices(db: Db, account_id: UUID, hardware_id: str) -> int:
    """How many devices the account has, or may have in a moment, beside that of this hardware; no more come before the transaction ends."""
    await db.execute(HOLD_ACCOUNT, account_id)
    return int(await db.fetchval(OTHER_DEVICES, account_id, hardware_id))


async def set_code(db: Db, device_id: UUID, code_hash: bytes, expires_at: datetime) -> None:
    await db.execute(SET_CODE, device_id, code_hash, expires_at)


async def lock_device(db: Db, device_id: UUID) -> Record | None:
    """A device, whose codes and tokens nobody else changes until the transaction ends: `account_id`, `status`, `verified_at`,
    `tokens_valid_after`.
    """
    return await db.fetchrow(LOCK_DEVICE, device_id)


async def code_of(db: Db, device_id: UUID) -> Record | None:
    return await db.fetchrow(CODE, device_id)


async def drop_code(db: Db, device_id: UUID) -> None:
    await db.execute(DROP_CODE, device_id)


async def activate(db: Db, account_id: UUID, device_id: UUID, now: datetime) -> None:
    await db.execute(ACTIVATE, account_id, device_id, now)


async def revoke_refresh_tokens(db: Db, device_id: UUID, now: datetime) -> None:
    await db.execute(REVOKE_OF_DEVICE, device_id, now)


async def revoke_family(db: Db, family_id: UUID, now: datetime) -> None:
    await db.execute(REVOKE_FAMILY, family_id, now)


async def add_refresh_token(
    db: Db, token_id: UUID, family_id: UUID, device_id: UUID, token_hash: bytes, created_at: datetime, expires_at: datetime
) -> None:
    await db.execute(ADD_REFRESH, token_id, family_id, device_id, token_hash, created_at, expires_at)


async def device_of_refresh_token(db: Db, token_hash: bytes) -> UUID | None:
    """The device to lock before the token is looked at."""
    device_id: UUID | None = await db.fetchval(DEVICE_OF_REFRESH, token_hash)
    return device_id


async def refresh_token(db: Db, token_hash: bytes) -> Record | None:
    return await db.fetchrow(REFRESH, token_hash)


async def void_tokens(db: Db, account_id: UUID, device_id: UUID, now: datetime) -> datetime:
    """Let no token count that the device has been given so far; the moment after which one must be issued to count."""
    moment: datetime = await db.fetchval(VOID_TOKENS, account_id, device_id, now)
    return moment


async def use_refresh_token(db: Db, token_id: UUID, now: datetime) -> None:
    await db.execute(USE_REFRESH, token_id, now)


async def forget_expired(db: Db) -> None:
    """Of all accounts: refresh tokens and codes that nobody can use any more; and accounts older than a day of which no device was ever
    verified, which hold nothing.
    """
    for statement in (FORGET_REFRESH, FORGET_CODES, FORGET_UNVERIFIED):
        await db.execute(statement)


async def devices_of(db: Db, account_id: UUID, current_id: UUID) -> list[Device]:
    return [Device(**row) for row in await db.fetch(LIST, account_id, current_id)]


async def deactivate(db: Db, account_id: UUID, current_id: UUID, device_id: UUID) -> Device | None:
    """Shut a device out, which is then held as by `lock_device`; None when the account has no such device."""
    row = await db.fetchrow(DEACTIVATE, account_id, current_id, device_id)
    return Device(**row) if row else None
