"""How devices stand with us: every request asks, and those that come at the same moment are answered by one query."""

import asyncio
from typing import NamedTuple

from gateway.auth import queries
from gateway.auth.principal import Principal
from gateway.auth.queries import Standing
from gateway.database import Database


class _Question(NamedTuple):
    principal: Principal
    answer: asyncio.Future[Standing | None]


class StandingReader:
    """Gathers questions while a query runs, and asks them all in the next one; where there is only one, it does not wait.

    A query begins after its questions came, so no answer is older than the request that it lets in (docs/decisions/0009-drafts.md).
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._questions: list[_Question] = []
        self._reading: asyncio.Task[None] | None = None

    async def standing(self, principal: Principal) -> Standing | None:
        """How a device stands, which is noted as seen; None when there is no such device.

        Raises:
            Unavailable: the database is away.
        """
        question = _Question(principal, asyncio.get_running_loop().create_future())
        self._questions.append(question)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="device standings")
        return await question.answer

    async def _read(self) -> None:
        while self._questions:
            questions, self._questions = self._questions, []
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
        self._reading = None

    async def _standings_of(self, principals: list[Principal]) -> list[Standing | None]:
        account_ids = [principal.account_id for principal in principals]
        device_ids = [principal.device_id for principal in principals]
        async with self._database.connection() as db:
            standings = await queries.standings(db, account_ids, device_ids)
            if any(standing is not None and standing.stale for standing in standings):
                await queries.touch(db, account_ids, device_ids)
        return standings
