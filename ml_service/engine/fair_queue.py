"""The engine's places, shared fairly by those who ask for them."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from ml_service.engine.protocol import QueueFull

_FULL: Final = "The engine has as much work as it may queue"


@dataclass(slots=True, eq=False)
class _Request:
    """Somebody who waits; `number` says since when."""

    number: int
    answers: int
    turn: asyncio.Future[None]


class FairPlaces:
    """How many answers the engine generates at the same time, and whose turn it is.

    A place that becomes free goes to the scope that has the fewest answers in the engine, and of those to the one that has waited longest:
    who asks for hundreds at once holds up nobody else. When as many wait as may, the newest request of the scope that has the most waiting
    makes way.
    """

    def __init__(self, places: int, waiting: int, share: Callable[[], float] = lambda: 1.0) -> None:
        """`places` answers are generated at once, or now a `share` of them; `waiting` more may wait."""
        self._places = places
        self._most_waiting = waiting
        self._share = share
        self._used: Counter[str] = Counter()
        self._queues: dict[str, deque[_Request]] = {}
        self._count = 0

    @property
    def waiting(self) -> int:
        """Answers that wait for a place."""
        return sum(map(self._waiting_of, self._queues))

    @asynccontextmanager
    async def held(self, scope: str, answers: int) -> AsyncIterator[None]:
        """Wait for so many places, and hold them while the block runs. A request for more than there are takes them all.

        Raises:
            QueueFull: too many wait already, of this scope above all.
        """
        answers = min(answers, self._places)
        await self._take(scope, answers)
        try:
            yield
        finally:
            self._give_back(scope, answers)

    async def _take(self, scope: str, answers: int) -> None:
        if not self._queues and self._have_room(answers):
            self._used[scope] += answers
            return
        self._make_room(scope, answers)
        self._count += 1
        request = _Request(self._count, answers, asyncio.get_running_loop().create_future())
        self._queues.setdefault(scope, deque()).append(request)
        try:
            await request.turn
        except asyncio.CancelledError:
            if request.turn.done() and not request.turn.cancelled() and request.turn.exception() is None:
                self._give_back(scope, answers)  # the turn came just when whoever waited left
            elif request.turn.cancelled():
                self._remove(scope, request)
                self._let_in()
            raise

    def _have_room(self, answers: int) -> bool:
        used = self._used.total()
        return used == 0 or used + answers <= int(self._places * self._share())

    def _give_back(self, scope: str, answers: int) -> None:
        self._used[scope] -= answers
        if not self._used[scope]:
            del self._used[scope]
        self._let_in()

    def _let_in(self) -> None:
        while self._queues:
            scope = min(self._queues, key=lambda each: (self._used[each], self._queues[each][0].number))
            request = self._queues[scope][0]
            if not self._have_room(request.answers):
                return
            self._remove(scope, request)
            self._used[scope] += request.answers
            request.turn.set_result(None)

    def _make_room(self, scope: str, answers: int) -> None:
        while self.waiting + answers > self._most_waiting:
            greediest = max(self._queues, key=self._waiting_of, default=scope)
            if self._waiting_of(greediest) <= self._waiting_of(scope) + answers:
                raise QueueFull(_FULL)
            newest = self._queues[greediest][-1]
            self._remove(greediest, newest)
            newest.turn.set_exception(QueueFull(_FULL))

    def _waiting_of(self, scope: str) -> int:
        return sum(request.answers for request in self._queues.get(scope, ()))

    def _remove(self, scope: str, request: _Request) -> None:
        queue = self._queues[scope]
        queue.remove(request)
        if not queue:
            del self._queues[scope]
