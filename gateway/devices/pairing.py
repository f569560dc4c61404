"""New devices and the codes that pair them: what an app that registers and an operator at the command line do alike."""

import secrets
from datetime import timedelta
from uuid import UUID

from gateway.auth.tokens import KeyRing
from gateway.database import Database, Db
from gateway.devices import queries
from gateway.devices.schemas import DeviceRegistration, Pairing, Platform
from gateway.wire import utc_now
from shared.errors import NotFound
from shared.ids import new_id

CODE_LIFETIME = timedelta(minutes=10)


async def announce(database: Database, keys: KeyRing, account_id: UUID | None, name: str, platform: Platform) -> Pairing:
    """The operator's way in, whatever REGISTRATION says: a device of a new account, or of a known one whose devices are lost.

    Raises:
        NotFound: there is no such account.
    """
    registration = DeviceRegistration(name=name, hardware_id=f"announced-{new_id()}", platform=platform, os_version="unknown")
    async with database.transaction() as db:
        if account_id is None:
            account_id = await new_account(db)
        elif not await queries.account_exists(db, account_id):
            raise NotFound("There is no account with this id")
        return await add_device(db, keys, account_id, registration)


async def new_account(db: Db) -> UUID:
    account_id = new_id()
    await queries.new_account(db, account_id, utc_now())
    return account_id


async def add_device(db: Db, keys: KeyRing, account_id: UUID, registration: DeviceRegistration) -> Pairing:
    """Store a device that waits for its verification, with a new code; the account's device with the same hardware id is the same one."""
    now = utc_now()
    device_id = await queries.register(
        db, account_id, new_id(), registration.name, registration.hardware_id, registration.platform, registration.os_version, now
    )
    code = f"{secrets.randbelow(1_000_000):06d}"
    expires_at = (now + CODE_LIFETIME).replace(microsecond=0)
    await queries.set_code(db, device_id, keys.code_hash(device_id, code), expires_at)
    return Pairing(device_id=device_id, code=code, expires_at=expires_at)
