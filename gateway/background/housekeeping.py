"""Forgets what has run out, once a minute, on whichever replica gets to it first."""

import asyncio
import random
from datetime import timedelta

import structlog

from gateway.database import Database
from gateway.devices import queries as devices
from gateway.errors import Unavailable
from gateway.events.publisher import EventPublisher
from gateway.idempotency import queries as idempotency
from gateway.responses import queries as responses
from gateway.responses.service import events_of
from shared.background import BackgroundTask

_EVERY_SECONDS = 60
# Any number that only this task uses: who holds it sweeps, the other replicas skip their turn.
_LOCK = 7_300_2101

_logger = structlog.get_logger(__name__)


class Housekeeping:
    """A background task of the gateway. What goes wrong in it is logged and tried again a minute later."""

    def __init__(self, database: Database, events: EventPublisher, longest_draft: timedelta) -> None:
        """`longest_draft`: a draft that has been in work for longer has lost the gateway that wrote it."""
        self._database = database
        self._events = events
        self._longest_draft = longest_draft
        self._task = BackgroundTask("housekeeping", self._run)

    def start(self) -> None:
        self._task.start()

    async def close(self) -> None:
        await self._task.close()

    async def sweep(self) -> None:
        """Forget old idempotent answers, refresh tokens and codes that have expired, and accounts that nobody ever verified; close drafts
        whose gateway was killed."""
        async with self._database.transaction() as db:
            if not await db.fetchval("select pg_try_advisory_xact_lock($1)", _LOCK):
                return
            await idempotency.forget_old(db)
            await devices.forget_expired(db)
            await devices.forget_unverified(db)
            abandoned = await responses.fail_abandoned(db, self._longest_draft)
        for stored in abandoned:
            self._events.publish_all(stored.account_id, events_of(stored))

    async def _run(self) -> None:
        while True:
            try:
                await self.sweep()
            except Unavailable:
                _logger.warning("housekeeping skipped: the database is away")
            await asyncio.sleep(_EVERY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311
