"""The loop that finds what got lost between this service and another."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from asyncpg import Record

from gateway.database import Database, Db
from gateway.errors import Unavailable
from shared.background import BackgroundTask

_EVERY_SECONDS = 1.0
_AWAY_SECONDS = 2.0

_logger = structlog.get_logger(__name__)


class Reconciler:
    """Looks at rows that are due, once a second.

    Each row says when it is to be looked at next, and the gateway that takes it moves that on: so the gateways share the work without
    knowing of each other, and no transaction is open while another service is asked.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        take_due: Callable[[Db, int], Awaitable[list[Record]]],
        look: Callable[[Record], Awaitable[None]],
        *,
        at_once: int = 32,
    ) -> None:
        """
        Args:
            take_due: takes up to so many due rows, so that no other gateway gets them now.
            look: does what there is to do about one; it may raise `Unavailable`, and then the row comes again.
            at_once: how many rows are looked at side by side.
        """
        self._name = name
        self._database = database
        self._take_due = take_due
        self._look = look
        self._at_once = at_once
        self._awake = asyncio.Event()
        self._task = BackgroundTask(f"reconciler of {name}", self._run)

    def start(self) -> None:
        self._task.start()

    def wake(self) -> None:
        """Look now."""
        self._awake.set()

    async def close(self) -> None:
        await self._task.close()

    async def _run(self) -> None:
        while True:
            pause = _EVERY_SECONDS
            try:
                while await self._round() == self._at_once:
                    pass
            except Unavailable:  # the database, the other service or Redis: nothing can be done, and nothing gets lost
                pause = _AWAY_SECONDS
            except Exception as error:
                _logger.error("reconciling failed", of=self._name, exc_info=error)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._awake.wait()
            self._awake.clear()

    async def _round(self) -> int:
        """Look at some rows that are due.

        Returns:
            How many there were.

        Raises:
            Unavailable: what could not be looked at comes again later.
        """
        async with self._database.transaction() as db:
            rows = await self._take_due(db, self._at_once)
        outcomes = await asyncio.gather(*(self._look(row) for row in rows), return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failures:
            raise next((failure for failure in failures if not isinstance(failure, Unavailable)), failures[0])
        return len(rows)
