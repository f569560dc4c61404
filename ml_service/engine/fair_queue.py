"""Which request the engine takes next, and how many answers it generates at the same time."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from ml_service.engine.protocol import QueueFull

LEAST_SHARE: Final = 2**-10
"""One request is let in at least, however small the share is."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request that waits for its turn."""

    scope: str
    answers: int
    turn: asyncio.Future[None]


class FairQueue:
    """Requests before the engine.

    The next one is of the scope that has the fewest answers in the engine, and of those the one that has waited longest: who asks for
    hundreds at once holds up nobody else. When as many wait as may, the newest request of the scope that has the most waiting is refused.
    """

    def __init__(self, running: int, waiting: int, replacement_window: float = 600.0) -> None:
        """`running` answers are generated at once, and `waiting` more may wait; see `engine_replaced`."""
        self._most_running = running
        self._most_waiting = waiting
        self._window = replacement_window
        self._share = 1.0
        self._replaced_at = -replacement_window
        self._running: Counter[str] = Counter()
        self._waiting: list[_Waiting] = []
        """The oldest first."""

    @property
    def waiting(self) -> int:
        """Answers that wait for their turn."""
        return sum(request.answers for request in self._waiting)

    @property
    def share(self) -> float:
        """The share of the usual answers that are generated at once: 1, or less after engines had to be replaced."""
        return self._share if time.monotonic() - self._replaced_at < self._window else 1.0

    def engine_replaced(self) -> None:
        """Let in half as much if another engine was replaced shortly before: work that ends one must not come back whole each time."""
        now = time.monotonic()
        repeated = now - self._replaced_at < self._window
        self._share = max(self._share / 2, LEAST_SHARE) if repeated else 1.0
        self._replaced_at = now
        if repeated:
            log.warning("another engine was replaced shortly before: less is let in", share=self._share)

    @asynccontextmanager
    async def turn(self, scope: str, answers: int) -> AsyncIterator[None]:
        """Wait until so many answers of this scope may be generated, which they are while the block runs.

        A request for more answers than are generated at once waits until it is alone.

        Raises:
            QueueFull: too many wait already, of this scope above all.
        """
        answers = min(answers, self._most_running)
        await self._wait(scope, answers)
        try:
            yield
        finally:
            self._end(scope, answers)

    async def _wait(self, scope: str, answers: int) -> None:
        if not self._waiting and self._has_room(answers):
            self._running[scope] += answers
            return
        self._make_room(scope, answers)
        request = _Waiting(scope, answers, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        try:
            await request.turn
        except asyncio.CancelledError:
            if request in self._waiting:
                self._waiting.remove(request)
                self._let_in()
            elif request.turn.exception() is None:  # its turn came just when whoever waited left
                self._end(scope, answers)
            raise

    def _has_room(self, answers: int) -> bool:
        running = self._running.total()
        return running == 0 or running + answers <= int(self._most_running * self.share)

    def _end(self, scope: str, answers: int) -> None:
        self._running[scope] -= answers
        if not self._running[scope]:
            del self._running[scope]
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            request = min(self._waiting, key=lambda each: self._running[each.scope])  # of equal ones the oldest
            if not self._has_room(request.answers):
                return
            self._waiting.remove(request)
            self._running[request.scope] += request.answers
            request.turn.set_result(None)

    def _make_room(self, scope: str, answers: int) -> None:
        """Refuse the newest requests of scopes that have more waiting than this one would have, or else this one."""
        while self.waiting + answers > self._most_waiting:
            waiting: Counter[str] = Counter()
            for request in self._waiting:
                waiting[request.scope] += request.answers
            most = max(waiting, key=waiting.__getitem__, default=scope)
            if waiting[most] <= waiting[scope] + answers:
                raise _full()
            newest = next(request for request in reversed(self._waiting) if request.scope == most)
            self._waiting.remove(newest)
            newest.turn.set_exception(_full())


def _full() -> QueueFull:
    return QueueFull("The engine has as much work as it may queue")
