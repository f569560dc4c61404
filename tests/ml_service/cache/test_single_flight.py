import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from ml_service.cache.single_flight import SingleFlight
from ml_service.engine.protocol import Delta, EngineAway
from tests.fixtures.waiting import settled

pytestmark = pytest.mark.anyio


class Generation:
    """A generation that goes on when told to, and remembers what became of it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.started = 0
        self.aborted = False
        self.finished: list[Delta] | None = None
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

    async def finish(self, deltas: list[Delta]) -> None:
        self.finished = list(deltas)


async def text_of(single_flight: SingleFlight, generation: Generation, *, alone: bool = False) -> str:
    async with aclosing(single_flight.subscribe("key", generation.generate, generation.finish, alone=alone)) as deltas:
        return "".join([delta.text async for delta in deltas])


async def test_all_who_ask_at_once_share_one_generation() -> None:
    single_flight, generation = SingleFlight(), Generation()
    asking = [asyncio.create_task(text_of(single_flight, generation)) for _ in range(20)]
    await settled()
    generation.step(3)
    assert await asyncio.gather(*asking) == ["abc"] * 20
    assert generation.started == 1
    assert generation.finished is not None
    assert len(generation.finished) == 3


async def test_a_late_one_gets_what_was_already_there() -> None:
    single_flight, generation = SingleFlight(), Generation()
    first = asyncio.create_task(text_of(single_flight, generation))
    generation.step(2)
    await settled()
    late = asyncio.create_task(text_of(single_flight, generation))
    await settled()
    generation.step()
    assert await first == await late == "abc"
    assert generation.started == 1


async def test_the_generation_goes_on_while_anyone_waits_and_is_aborted_when_the_last_one_leaves() -> None:
    single_flight, generation = SingleFlight(), Generation()
    one, two = (asyncio.create_task(text_of(single_flight, generation)) for _ in range(2))
    generation.step()
    await settled()
    one.cancel()
    await settled()
    assert not generation.aborted
    two.cancel()
    await settled()
    assert generation.aborted
    assert generation.finished is None


async def test_after_an_abort_the_next_one_starts_anew() -> None:
    single_flight, generation = SingleFlight(), Generation()
    one = asyncio.create_task(text_of(single_flight, generation))
    await settled()
    one.cancel()
    two = asyncio.create_task(text_of(single_flight, generation))
    await settled()
    generation.step(3)
    assert await two == "abc"
    assert generation.started == 2


async def test_an_error_reaches_everyone_and_is_not_kept() -> None:
    single_flight, generation = SingleFlight(), Generation(EngineAway("gone"))
    asking = [asyncio.create_task(text_of(single_flight, generation)) for _ in range(2)]
    await settled()
    generation.step(2)
    assert [type(result) for result in await asyncio.gather(*asking, return_exceptions=True)] == [EngineAway, EngineAway]
    assert generation.finished is None


async def test_who_wants_to_be_alone_is() -> None:
    single_flight, generation = SingleFlight(), Generation()
    asking = [asyncio.create_task(text_of(single_flight, generation, alone=alone)) for alone in (True, False, True)]
    await settled()
    generation.step(9)
    await asyncio.gather(*asking)
    assert generation.started == 3
