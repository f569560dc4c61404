import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from uuid import UUID

import msgspec
import structlog

from gateway.account import queries
from gateway.account.archive import StreamedZip
from gateway.account.schemas import Account
from gateway.auth.authentication import Authenticator
from gateway.auth.principal import Principal
from gateway.auth.tokens import VerifiedToken
from gateway.background.reconciler import Reconciler
from gateway.database import Database
from gateway.deletions.service import order_deletion
from gateway.events.publisher import EventPublisher
from gateway.limits.places import Places
from gateway.wire import utc_now
from shared.errors import BadRequest, Unauthorized, Unavailable

_EXPORTS_AT_ONCE = 2
"""In this process: each holds one of the connections for heavy reads for as long as its client reads."""
_EXPORT_SECONDS = 3600
CHECK_SECONDS = 0.5
"""How often it is looked whether an export's device may still have it."""

_logger = structlog.get_logger(__name__)


class AccountService:
    """All of an account's data, to take along and to delete."""

    def __init__(
        self, database: Database, deletions: Reconciler, events: EventPublisher, authenticator: Authenticator, places: Places
    ) -> None:
        """`places` are those of exports."""
        self._database = database
        self._deletions = deletions
        self._events = events
        self._authenticator = authenticator
        self._places = places
        self._exports = asyncio.Semaphore(_EXPORTS_AT_ONCE)

    async def summary(self, account_id: UUID) -> Account:
        """The account, and how much is in it.

        Raises:
            Unauthorized: it was deleted in this moment.
        """
        async with self._database.connection() as db:
            found = await queries.summary(db, account_id)
        if found is None:
            raise Unauthorized("The account of this device was deleted")
        return found

    def export(self, token: VerifiedToken) -> AsyncGenerator[bytes, None]:
        """A zip with one NDJSON file a kind, as the data was at one moment. If the iterator raises, what it gave is no complete zip: so it
        does when the token's device is deactivated meanwhile, or the account deleted.

        Raises:
            TooManyRequests: an export of the account is running.
            Unavailable: other exports are running.
        """
        self._places.check(token.principal.account_id)
        if self._exports.locked():
            raise Unavailable("Other exports are running; try again in a moment", retry_after=30)
        return self._archive(token)

    async def delete(self, principal: Principal, confirm: UUID) -> None:
        """Delete the account and everything that belongs to it, at once and for good.

        What the ML service has of it, adapters above all, goes within seconds, or when that can be reached.

        Raises:
            BadRequest: `confirm` is not the account's id.
        """
        if confirm != principal.account_id:
            raise BadRequest.field("confirm", "must be the id of your account, as `GET /api/account` says it")
        async with self._database.transaction() as db:
            await queries.hold_devices(db, principal.account_id)
            await order_deletion(db, principal.account_id, everything=True)
            await queries.delete(db, principal.account_id)
        _logger.info("account deleted", account_id=str(principal.account_id))
        self._events.forget_account(principal.account_id)
        self._deletions.wake()

    async def _archive(self, token: VerifiedToken) -> AsyncGenerator[bytes, None]:
        account_id = token.principal.account_id
        archive = StreamedZip()
        date = utc_now().timetuple()[:6]
        checked_at = time.monotonic()
        async with AsyncExitStack() as stack:
            stack.enter_context(self._places.taken(account_id))
            await stack.enter_async_context(self._exports)
            await stack.enter_async_context(asyncio.timeout(_EXPORT_SECONDS))
            db = await stack.enter_async_context(self._database.heavy_transaction())
            await queries.take_snapshot(db)
            for kind in queries.EXPORTS:
                yield archive.begin(f"{kind}.ndjson", date)
                async for batch in queries.rows_of(db, account_id, kind):
                    if time.monotonic() > checked_at + CHECK_SECONDS:
                        await self._check(token)
                        checked_at = time.monotonic()
                    lines = b"".join(msgspec.json.encode(dict(row)) + b"\n" for row in batch)
                    if chunk := await archive.write(lines):
                        yield chunk
        yield archive.end()

    async def _check(self, token: VerifiedToken) -> None:
        """See that the token's device may still have the data.

        Raises:
            Unauthorized, Forbidden: it may not.
        """
        (refusal,) = await self._authenticator.refusals([token])
        if refusal is not None:
            raise refusal
