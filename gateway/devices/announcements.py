"""New devices and their codes: what an app that registers and an operator at the command line do alike."""

import secrets
from datetime import timedelta
from uuid import UUID

from gateway.auth.keys import KeyRing
from gateway.database import Database, Db
from gateway.devices import queries
from gateway.devices.schemas import DeviceRegistration, Pairing, Platform
from gateway.errors import NotFound
from gateway.limits.allowances import Allowances
from gateway.wire import utc_now
from shared.ids import new_id

CODE_LIFETIME = timedelta(minutes=10)


class Announcements:
    """Makes devices that wait for their verification."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys

    async def register(self, account_id: UUID | None, registration: DeviceRegistration, allowances: Allowances) -> Pairing:
        """A device of this account, or of a new one; the account's device with the same hardware id is the same device.

        Raises:
            TooManyRequests: the account has as many other devices as it may.
        """
        async with self._database.transaction() as db:
            if account_id is None:
                account_id = await _new_account(db)
            elif await queries.other_devices(db, account_id, registration.hardware_id) >= allowances.devices:
                raise allowances.too_many_devices()
            return await self._add(db, account_id, new_id(), registration)

    async def announce(self, account_id: UUID | None, name: str, platform: Platform) -> Pairing:
        """The operator's way in, whatever REGISTRATION says: a device of a new account, or of a known one whose devices are lost.

        Raises:
            NotFound: there is no such account.
        """
        device_id = new_id()
        registration = DeviceRegistration(name=name, hardware_id=f"announced-{device_id}", platform=platform, os_version="unknown")
        async with self._database.transaction() as db:
            if account_id is None:
                account_id = await _new_account(db)
            elif not await queries.account_exists(db, account_id):
                raise NotFound("There is no account with this id")
            return await self._add(db, account_id, device_id, registration)

    async def _add(self, db: Db, account_id: UUID, device_id: UUID, registration: DeviceRegistration) -> Pairing:
        now = utc_now()
        device_id = await queries.register(
            db, account_id, device_id, registration.name, registration.hardware_id, registration.platform, registration.os_version, now
        )
        code = f"{secrets.randbelow(1_000_000):06d}"
        expires_at = (now + CODE_LIFETIME).replace(microsecond=0)
        await queries.set_code(db, device_id, self._keys.code_hash(device_id, code), expires_at)
        return Pairing(device_id=device_id, code=code, expires_at=expires_at)


async def _new_account(db: Db) -> UUID:
    account_id = new_id()
    await queries.new_account(db, account_id, utc_now())
    return account_id
