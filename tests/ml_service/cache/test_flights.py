import asyncio
from collections.abc import AsyncGenerator

import pytest

from ml_service.cache.flights import Flights
from ml_service.engine.protocol import Delta, EngineAway
from tests.fixtures.waiting import settled

pytestmark = pytest.mark.anyio


class Generation:
    """A generation that goes on when told to, and remembers what became of it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.started = 0
        self.aborted = False
        self.landed: list[Delta] | None = None
        self._steps = asyncio.Semaphore(0)
        self._error = error

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self._steps.release()

    async def generate(self) -> AsyncGenerator[Delta, None]:
        self.started += 1
        try:
            for word in ("a", "b", "c"):
                await self._steps.acquire()
                if self._error is not None and word == "b":
                    raise self._error
                yield Delta(0, word, 1, 0.5, "stop" if word == "c" else None)
        except asyncio.CancelledError:
            self.aborted = True
            raise

    async def land(self, deltas: list[Delta]) -> None:
        self.landed = list(deltas)


async def text_of(flights: Flights, generation: Generation, *, alone: bool = False) -> str:
    with flights.join("key", generation.generate, generation.land, alone=alone) as flight:
        return "".join([delta.text async for delta in flight.listen()])


async def waited(flights: Flights, generation: Generation) -> str:
    with flights.join("key", generation.generate, generation.land) as flight:
        return "".join(delta.text for delta in await flight.landed())


async def test_all_who_ask_at_once_share_one_generation() -> None:
    flights, generation = Flights(), Generation()
    asking = [asyncio.create_task(text_of(flights, generation)) for _ in range(10)]
    asking += [asyncio.create_task(waited(flights, generation)) for _ in range(10)]
    await settled()
    generation.step(3)
    assert await asyncio.gather(*asking) == ["abc"] * 20
    assert generation.started == 1
    assert generation.landed is not None
    assert len(generation.landed) == 3


async def test_a_late_one_gets_what_was_already_there() -> None:
    flights, generation = Flights(), Generation()
    first = asyncio.create_task(text_of(flights, generation))
    generation.step(2)
    await settled()
    late = asyncio.create_task(text_of(flights, generation))
    await settled()
    generation.step()
    assert await first == await late == "abc"
    assert generation.started == 1


async def test_the_generation_goes_on_while_anyone_waits_and_is_aborted_when_the_last_one_leaves() -> None:
    flights, generation = Flights(), Generation()
    one, two = (asyncio.create_task(text_of(flights, generation)) for _ in range(2))
    generation.step()
    await settled()
    one.cancel()
    await settled()
    assert not generation.aborted
    two.cancel()
    await settled()
    assert generation.aborted
    assert generation.landed is None


async def test_after_an_abort_the_next_one_starts_anew() -> None:
    flights, generation = Flights(), Generation()
    one = asyncio.create_task(text_of(flights, generation))
    await settled()
    one.cancel()
    two = asyncio.create_task(text_of(flights, generation))
    await settled()
    generation.step(3)
    assert await two == "abc"
    assert generation.started == 2


async def test_an_error_reaches_everyone_and_is_not_kept() -> None:
    flights, generation = Flights(), Generation(EngineAway("gone"))
    asking = [asyncio.create_task(text_of(flights, generation)), asyncio.create_task(waited(flights, generation))]
    await settled()
    generation.step(2)
    assert [type(result) for result in await asyncio.gather(*asking, return_exceptions=True)] == [EngineAway, EngineAway]
    assert generation.landed is None


async def test_who_wants_to_be_alone_is() -> None:
    flights, generation = Flights(), Generation()
    asking = [asyncio.create_task(text_of(flights, generation, alone=alone)) for alone in (True, False, True)]
    await settled()
    generation.step(9)
    await asyncio.gather(*asking)
    assert generation.started == 3
