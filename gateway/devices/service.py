import hashlib
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from gateway.auth.principal import Principal
from gateway.auth.tokens import DeviceTokens, KeyRing
from gateway.database import Database, Db
from gateway.devices import queries
from gateway.devices.pairing import add_device, new_account
from gateway.devices.rate_limit import Attempt, PairingRateLimit
from gateway.devices.schemas import Device, DeviceRegistration, Pairing, Refresh, Tokens, Verification
from gateway.events.publisher import EventPublisher, PendingEvent
from gateway.events.schemas import AboutDevice
from gateway.limits.allowances import Allowances
from gateway.wire import utc_now
from shared.errors import Forbidden, NotFound, Unauthorized
from shared.ids import new_id

REFRESH_LIFETIME = timedelta(days=90)
_WRONG_CODE = "The code is not right for this device; look at it again, or register again for a new one"
_BURNT_CODE = "The code is not right for this device and the last attempt is used up; register again for a new one later"
_EXPIRED_CODE = "The code has expired; register again for a new one"
_BAD_REFRESH = "The refresh token is not valid any more; pair the device again"


DeviceLeft: TypeAlias = Callable[[Db, UUID, UUID], Awaitable[None]]
"""Ends, inside the transaction that deactivates a device of an account, what runs for it."""


class DeviceService:
    """How devices come to an account, prove that they are its, and leave it."""

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        tokens: DeviceTokens,
        limit: PairingRateLimit,
        registration: str,
        events: EventPublisher,
        device_left: DeviceLeft,
        allowances: Allowances,
    ) -> None:
        """`registration` is the setting: `open` or `closed`."""
        self._database = database
        self._events = events
        self._keys = keys
        self._tokens = tokens
        self._limit = limit
        self._registration = registration
        self._device_left = device_left
        self._allowances = allowances

    async def register(self, principal: Principal | None, registration: DeviceRegistration, client_address: str) -> Pairing:
        """Announce a device: of the caller's account, or with no caller of a new account.

        The account's device with the same hardware id is the same device and gets a new code; its status changes only with a verification.

        Raises:
            Forbidden: there is no caller, and new accounts are not for everybody here.
            TooManyRequests: too many registrations from the address, or the account has as many devices as it may.
            Unavailable: registrations cannot be counted, or the database is away.
        """
        if principal is None and self._registration == "closed":
            raise Forbidden(
                "New accounts are closed here: register from a device that is paired already, or ask the operator to run `gateway pair`"
                " and verify with the device id and code that it prints"
            )
        await self._limit.admit_registration(client_address)
        async with self._database.transaction() as db:
            if principal is None:
                account_id = await new_account(db)
            else:
                account_id = principal.account_id
                if await queries.other_devices(db, account_id, registration.hardware_id) >= self._allowances["devices"]:
                    raise self._allowances.refusal("devices")
            return await add_device(db, self._keys, account_id, registration)

    async def verify(self, verification: Verification, client_address: str) -> Tokens:
        """Trade a code for tokens. The code is used up; tokens that the device had before are void.

        Raises:
            Unauthorized: wrong, used, burnt or expired code, or no such device.
            TooManyRequests: 5 attempts in 15 minutes for the device, or 50 wrong ones from the address.
            Unavailable: attempts cannot be counted, or the database is away.
        """
        attempt = await self._limit.admit(verification.device_id, client_address)
        async with self._database.transaction() as db:
            outcome = await self._evaluate(db, verification, attempt)
        if isinstance(outcome, Tokens):
            await self._limit.forgive(attempt)
            return outcome
        raise Unauthorized(outcome)

    async def refresh(self, refresh: Refresh) -> Tokens:
        """Trade a refresh token, once, for a new pair.

        Raises:
            Unauthorized: unknown, expired or revoked; or used before, and then all that came from the same verification is void, access
                tokens too: one of the two users is a thief, and nobody can tell which (RFC 9700, section 4.14.2).
        """
        async with self._database.transaction() as db:
            outcome = await self._exchange(db, _token_hash(refresh.refresh_token))
        if isinstance(outcome, Tokens):
            return outcome
        if outcome is not None:
            self._events.publish(outcome.account_id, PendingEvent("device:token_reused", AboutDevice(device_id=outcome.device_id)))
        raise Unauthorized(_BAD_REFRESH)

    async def sign_out(self, refresh: Refresh) -> None:
        """Let a refresh token be void and all that came from the same verification, access tokens too. The device stays in the account's
        list; it comes back with a new code. A token that is unknown, or void already, changes nothing.
        """
        token_hash = _token_hash(refresh.refresh_token)
        async with self._database.transaction() as db:
            device_id = await queries.device_of_refresh_token(db, token_hash)
            device = await queries.lock_device(db, device_id) if device_id is not None else None
            known = await queries.refresh_token(db, token_hash)
            if device_id is None or device is None or known is None or known["revoked_at"] is not None:
                return
            now = utc_now()
            await queries.revoke_family(db, known["family_id"], now)
            await queries.void_tokens(db, device["account_id"], device_id, now)

    async def _exchange(self, db: Db, token_hash: bytes) -> Tokens | Principal | None:
        """The new pair; or the device whose token was used a second time; or nothing, for a token that is good for nothing."""
        device_id = await queries.device_of_refresh_token(db, token_hash)
        device = await queries.lock_device(db, device_id) if device_id is not None else None
        known = await queries.refresh_token(db, token_hash)
        if device_id is None or device is None or known is None or known["revoked_at"] is not None:
            return None
        principal = Principal(account_id=device["account_id"], device_id=device_id)
        now = utc_now()
        if known["used_at"] is not None:
            await queries.revoke_family(db, known["family_id"], now)
            await queries.void_tokens(db, principal.account_id, device_id, now)
            return principal
        if known["expires_at"] <= now or device["status"] != "active":
            return None
        await queries.use_refresh_token(db, known["id"], now)
        return await self._issue(db, principal, known["family_id"], _after(device["tokens_valid_after"], now))

    async def devices(self, principal: Principal) -> list[Device]:
        """All devices of the account, oldest first."""
        async with self._database.connection() as db:
            return await queries.devices_of(db, principal.account_id, principal.device_id)

    async def deactivate(self, principal: Principal, device_id: UUID) -> Device:
        """Shut a device out, the caller's own too: its next request is refused, its event streams, drafts and exports end, its refresh
        tokens and pairing code are void, its running training is cancelled.

        Doing it again changes nothing. The way back is to register it again and verify the code.

        Raises:
            NotFound: no such device, or another account's.
        """
        async with self._database.transaction() as db:
            device = await queries.deactivate(db, principal.account_id, principal.device_id, device_id)
            if device is None:
                raise NotFound("No device with this id; see GET /api/devices")
            await queries.drop_code(db, device_id)
            await queries.revoke_refresh_tokens(db, device_id, utc_now())
            await self._device_left(db, principal.account_id, device_id)
        self._events.publish(principal.account_id, PendingEvent("device:deactivated", AboutDevice(device_id=device_id)))
        return device

    async def forget_expired(self) -> None:
        """Of all accounts: forget refresh tokens and codes that have expired, and accounts that nobody ever verified."""
        async with self._database.connection() as db:
            await queries.forget_expired(db)

    async def _evaluate(self, db: Db, verification: Verification, attempt: Attempt) -> Tokens | str:
        """The tokens, or what was wrong. A device that does not exist is answered as a wrong code is, after the same work."""
        now = utc_now()
        device_id = verification.device_id
        device = await queries.lock_device(db, device_id)
        pairing = await queries.code_of(db, device_id)
        right = self._keys.code_matches(device_id, verification.code, pairing["code_hash"] if pairing else b"")
        if device is None or pairing is None or not right:
            if attempt.is_last:
                await queries.drop_code(db, device_id)
            return _BURNT_CODE if attempt.is_last else _WRONG_CODE
        if pairing["expires_at"] <= now:
            return _EXPIRED_CODE
        await queries.drop_code(db, device_id)
        principal = Principal(account_id=device["account_id"], device_id=device_id)
        await queries.activate(db, principal.account_id, device_id, now)
        await queries.revoke_refresh_tokens(db, device_id, now)
        if device["verified_at"] is not None:
            # Or a deactivated device's old token would be good again once somebody pairs that device anew.
            now = _after(await queries.void_tokens(db, principal.account_id, device_id, now), now)
        return await self._issue(db, principal, new_id(), now)

    async def _issue(self, db: Db, principal: Principal, family_id: UUID, now: datetime) -> Tokens:
        """A pair of this moment."""
        issued = self._tokens.issue(principal, now)
        refresh_token = secrets.token_urlsafe(32)
        refresh_expires_at = (now + REFRESH_LIFETIME).replace(microsecond=0)
        await queries.add_refresh_token(db, new_id(), family_id, principal.device_id, _token_hash(refresh_token), now, refresh_expires_at)
        return Tokens(token=issued.token, expires_at=issued.expires_at, refresh_token=refresh_token, refresh_expires_at=refresh_expires_at)


def _after(voided: datetime | None, now: datetime) -> datetime:
    """Now, or as soon as tokens count again: this gateway's clock may be behind that of another one."""
    return now if voided is None else max(now, voided + timedelta(microseconds=1))


def _token_hash(token: str) -> bytes:
    """A plain hash is enough for 32 random bytes: there is nothing to guess."""
    return hashlib.sha256(token.encode()).digest()
