"""Forgets what has run out, once a minute, on whichever replica gets to it first."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog

from gateway.database import Database
from shared.background import BackgroundTask
from shared.errors import Unavailable

_EVERY_SECONDS = 60
# Any number that only this task uses: who holds it sweeps, the other replicas skip their turn.
_LOCK = 7_300_2101

Sweep: TypeAlias = Callable[[], Awaitable[None]]
"""Forgets what has run out of one thing, in a transaction of its own."""
_logger = structlog.get_logger(__name__)


class Housekeeping:
    """A background task of the gateway. What goes wrong in it is logged and tried again a minute later."""

    def __init__(self, database: Database, sweeps: Sequence[Sweep]) -> None:
        self._database = database
        self._sweeps = sweeps
        self._task = BackgroundTask("housekeeping", self._run)

    def start(self) -> None:
        self._task.start()

    async def close(self) -> None:
        await self._task.close()

    async def _run(self) -> None:
        while True:
            try:
                async with self._database.transaction() as db:
                    if await db.fetchval("select pg_try_advisory_xact_lock($1)", _LOCK):
                        for sweep in self._sweeps:
                            await sweep()
            except Unavailable:
                _logger.warning("housekeeping skipped: the database is away")
            await asyncio.sleep(_EVERY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311
