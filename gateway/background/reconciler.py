"""The loop that finds what got lost between this service and another."""

import asyncio
from contextlib import suppress
from typing import Protocol

import structlog
from asyncpg import Record

from gateway.background.due_rows import DueRows
from gateway.database import Database
from shared.background import BackgroundTask
from shared.errors import Unavailable

_EVERY_SECONDS = 1.0
_AWAY_SECONDS = 2.0

_logger = structlog.get_logger(__name__)

MOST_ATTEMPTS = 10
"""So many attempts in a row may fail before a row is given up: also if each of them killed its gateway."""


class ReconcilesRows(Protocol):
    """What there is to do about a row."""

    async def reconcile(self, row: Record) -> None:
        """Do it.

        Raises:
            Unavailable: the other service, Redis or the database is away; the row comes again, however often.
        """
        ...

    async def give_up(self, row: Record) -> None:
        """Say of the row that it failed, and see that it does not come again soon; if it comes, it is attempted as often again."""
        ...


class Reconciler:
    """Reconciles rows that are due, once a second.

    Each row says when it is due next, and the gateway that takes it moves that on: so the gateways share the work without knowing of each
    other, and no transaction is open while another service is asked.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        due: DueRows,
        rows: ReconcilesRows,
        *,
        at_once: int = 32,
    ) -> None:
        """`rows` does what there is to do about a due row; `at_once`: how many are reconciled side by side."""
        self._name = name
        self._database = database
        self._due = due
        self._rows = rows
        self._at_once = at_once
        self._awake = asyncio.Event()
        self._task = BackgroundTask(f"reconciler of {name}", self._run)

    def start(self) -> None:
        self._task.start()

    def wake(self) -> None:
        """Look for rows now."""
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
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._awake.wait()
            self._awake.clear()

    async def _round(self) -> int:
        """Reconcile some rows that are due.

        Returns:
            How many there were.

        Raises:
            Unavailable: of one of them; it comes again later.
        """
        async with self._database.transaction() as db:
            rows = await self._due.take(db, self._at_once)
        outcomes = await asyncio.gather(*(self._attempt(row) for row in rows), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return len(rows)

    async def _attempt(self, row: Record) -> None:
        logger = _logger.bind(of=self._name, id=str(row["id"]), attempts=row["attempts"])
        try:
            if row["attempts"] > MOST_ATTEMPTS:
                logger.error("row given up")
                await self._rows.give_up(row)
            else:
                await self._rows.reconcile(row)
        except Unavailable:
            await self._reset_attempts(row)  # it says nothing against the row
            raise
        except Exception as error:
            logger.error("reconciling failed", exc_info=error)
        else:
            await self._reset_attempts(row)

    async def _reset_attempts(self, row: Record) -> None:
        async with self._database.connection() as db:
            await self._due.reset_attempts(db, row["id"])
