"""Single flight: requests for the same answer at the same time share one generation."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog

from ml_service.engine.protocol import Delta, GenerationFailed
from shared.errors import AppError

Start = Callable[[], AsyncGenerator[Delta, None]]
Finish = Callable[[list[Delta]], Awaitable[None]]

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Generation:
    """One that runs: what it has given so far, how many wait for more, and how it ended."""

    task: asyncio.Task[None] = field(init=False)
    deltas: list[Delta] = field(default_factory=list)
    waiters: int = 0
    ended: bool = False
    error: AppError | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def notify(self) -> None:
        """Wake all who wait; who waits from now on waits for the next time."""
        self.changed.set()
        self.changed = asyncio.Event()


class SingleFlight:
    """The generations that run now, by cache key."""

    def __init__(self) -> None:
        self._running: dict[str, _Generation] = {}

    async def subscribe(self, key: str, start: Start, finish: Finish, *, alone: bool = False) -> AsyncGenerator[Delta, None]:
        """All deltas of the generation for a key, whenever it began; the first who asks starts it. One that is `alone` is not shared.

        Closing the iterator is leaving: when the last one leaves before the end, the generation is aborted. `finish` is called with all
        deltas once the generation has completed, before the iterators end.

        Raises:
            AppError: what the generation raised.
        """
        generation = None if alone else self._running.get(key)
        if generation is None:
            generation = _Generation()
            generation.task = asyncio.create_task(self._run(key, generation, start, finish))
            if not alone:
                self._running[key] = generation
        generation.waiters += 1
        position = 0
        try:
            while not generation.ended or position < len(generation.deltas):
                if position < len(generation.deltas):
                    position += 1
                    yield generation.deltas[position - 1]
                else:
                    await generation.changed.wait()
            if generation.error is not None:
                raise generation.error
        finally:
            generation.waiters -= 1
            if generation.waiters == 0 and not generation.ended:
                self._remove(key, generation)  # nobody may wait for a generation that is being aborted
                generation.task.cancel()

    async def _run(self, key: str, generation: _Generation, start: Start, finish: Finish) -> None:
        try:
            async with aclosing(start()) as deltas:
                async for delta in deltas:
                    generation.deltas.append(delta)
                    generation.notify()
            await finish(generation.deltas)
        except AppError as error:
            generation.error = error
        except Exception as error:
            log.exception("generation ended in an unexpected error")
            generation.error = GenerationFailed("The generation failed")
            generation.error.__cause__ = error
        finally:
            self._remove(key, generation)
            generation.ended = True
            generation.notify()

    def _remove(self, key: str, generation: _Generation) -> None:
        if self._running.get(key) is generation:
            del self._running[key]
