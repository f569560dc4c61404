"""How devices stand with us: every request asks, and those that come at the same moment are answered by one query."""

import asyncio
from contextlib import suppress
from typing import NamedTuple

from gateway.auth import queries
from gateway.auth.principal import Principal
from gateway.auth.queries import Standing
from gateway.database import Database
from gateway.errors import Unavailable

LANES = 4
"""How many queries may run at once. Further ones begin only while others are slow."""
_SLOW_SECONDS = 0.05
_LONGEST_SECONDS = 2.0
_LONGEST_NOTE_SECONDS = 0.5


class _Question(NamedTuple):
    principal: Principal
    answer: asyncio.Future[Standing | None]


class StandingReader:
    """Gathers questions while a query runs, and asks them all in the next one; where there is only one, it does not wait.

    A query begins after its questions came, so no answer is older than the request that it lets in (docs/decisions/0009-drafts.md). One
    that is slow holds up its own questions only, and these for two seconds.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._questions: list[_Question] = []
        self._reading: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def standing(self, principal: Principal) -> Standing | None:
        """How a device stands, which is noted as seen; None when there is no such device.

        Raises:
            Unavailable: the database is away, or does not answer in time.
        """
        question = _Question(principal, asyncio.get_running_loop().create_future())
        self._questions.append(question)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="device standings")
        return await question.answer

    async def _read(self) -> None:
        """Begin queries until nobody asks any more: the next when one has ended, or when none has for a while."""
        while self._questions:
            questions, self._questions = self._questions, []
            self._running.add(asyncio.create_task(self._answer(questions), name="device standings"))
            await self._until_one_ends(_SLOW_SECONDS)
            if len(self._running) >= LANES:
                await self._until_one_ends(None)
        self._reading = None

    async def _until_one_ends(self, seconds: float | None) -> None:
        _, self._running = await asyncio.wait(self._running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    async def _answer(self, questions: list[_Question]) -> None:
        try:
            standings = await self._standings_of([question.principal for question in questions])
        except Exception as error:
            for _, answer in questions:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for (_, answer), standing in zip(questions, standings, strict=True):
                if not answer.done():  # done: whoever asked has gone away
                    answer.set_result(standing)

    async def _standings_of(self, principals: list[Principal]) -> list[Standing | None]:
        account_ids = [principal.account_id for principal in principals]
        device_ids = [principal.device_id for principal in principals]
        try:
            async with asyncio.timeout(_LONGEST_SECONDS), self._database.connection() as db:
                standings = await queries.standings(db, account_ids, device_ids)
                if any(standing is not None and standing.stale for standing in standings):
                    with suppress(TimeoutError):  # nobody is shut out because it cannot be noted that they were seen
                        async with asyncio.timeout(_LONGEST_NOTE_SECONDS):
                            await queries.touch(db, account_ids, device_ids)
        except TimeoutError as error:
            raise Unavailable("The database is slow; try again in a moment", retry_after=1) from error
        return standings
