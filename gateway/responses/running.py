"""The drafts that this process is writing, so that they can be stopped: from another request, or by another process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from gateway.database import Database
from gateway.errors import Unavailable
from gateway.responses import queries
from shared.background import BackgroundTask

_LOOK_EVERY_SECONDS = 0.5  # half of the second that is promised: the query and the stopping take their time, too


class Stopped(Exception):
    """The draft that was being written is not wanted any more."""


class RunningDrafts:
    """Drafts by their id. The row is the truth: a draft whose row no longer says `generating`, or whose device is not active
    any more, is stopped within a second."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._scopes: dict[UUID, asyncio.Timeout] = {}
        self._task = BackgroundTask("running drafts", self._watch)

    @asynccontextmanager
    async def writing(self, response_id: UUID) -> AsyncIterator[None]:
        """The block writes this draft; it is cancelled when the draft is stopped.

        Raises:
            Stopped: it was.
        """
        try:
            # A timeout that never comes, unless `stop` moves it to now: the standard library's own way to cancel just one block.
            async with asyncio.timeout(None) as scope:
                self._scopes[response_id] = scope
                yield
        except TimeoutError:
            if scope.expired():
                raise Stopped from None
            raise
        finally:
            self._scopes.pop(response_id, None)

    def stop(self, response_id: UUID) -> None:
        """Stop a draft if it is this process that writes it."""
        scope = self._scopes.pop(response_id, None)
        if scope is not None:
            scope.reschedule(asyncio.get_running_loop().time())

    def start(self) -> None:
        """Begin to look for drafts that were cancelled elsewhere."""
        self._task.start()

    async def close(self) -> None:
        await self._task.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            if not self._scopes:
                continue
            try:
                async with self._database.connection() as db:
                    unwanted = await queries.no_longer_generating(db, list(self._scopes))
            except Unavailable:  # then nothing can be cancelled elsewhere either
                continue
            for response_id in unwanted:
                self.stop(response_id)
