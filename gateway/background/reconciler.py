"""The loop that finds what got lost between this service and another."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import structlog
from asyncpg import Record

from gateway.database import Database, Db
from gateway.errors import Unavailable
from shared.background import BackgroundTask

_EVERY_SECONDS = 1.0
_AWAY_SECONDS = 2.0

_logger = structlog.get_logger(__name__)


MOST_ATTEMPTS = 10
"""So often a row is looked at in vain, one look after the other, before it is given up: also if each look killed its gateway."""


class LooksAfterRows(Protocol):
    """What there is to do about a row."""

    async def look(self, row: Record) -> None:
        """Do it.

        Raises:
            Unavailable: the other service, Redis or the database is away; the row comes again, however often.
        """
        ...

    async def went_well(self, row: Record) -> None:
        """Note that no attempt was in vain."""
        ...

    async def give_up(self, row: Record) -> None:
        """Say of the row that it failed, so that it does not come again."""
        ...


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
        caretaker: LooksAfterRows,
        *,
        at_once: int = 32,
    ) -> None:
        """
        Args:
            take_due: takes up to so many due rows, so that no other gateway gets them now, and counts the attempt in each (`attempts`).
            caretaker: does what there is to do about one.
            at_once: how many rows are looked at side by side.
        """
        self._name = name
        self._database = database
        self._take_due = take_due
        self._caretaker = caretaker
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
        outcomes = await asyncio.gather(*(self._attend(row) for row in rows), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return len(rows)

    async def _attend(self, row: Record) -> None:
        """Look at a row, unless that was in vain too often.

        Raises:
            Unavailable: it could not be looked at.
        """
        row_id = str(row["id"])
        try:
            if row["attempts"] > MOST_ATTEMPTS:
                _logger.error("row given up", of=self._name, id=row_id, attempts=row["attempts"] - 1)
                await self._caretaker.give_up(row)
                return
            await self._caretaker.look(row)
        except Unavailable:
            await self._caretaker.went_well(row)  # which says nothing against the row
            raise
        except Exception as error:
            _logger.error("reconciling failed", of=self._name, id=row_id, attempts=row["attempts"], exc_info=error)
            return
        await self._caretaker.went_well(row)
