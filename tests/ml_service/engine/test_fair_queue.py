"""Whose turn it is when more is asked for than the engine takes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ml_service.engine.places import FairPlaces
from ml_service.engine.protocol import QueueFull
from tests.fixtures.waiting import settled

pytestmark = pytest.mark.anyio


class Crowd:
    """Requests that hold their places until they are let go; `begun` says whose turn came, in order."""

    def __init__(self, places: FairPlaces) -> None:
        self._places = places
        self.begun: list[str] = []
        self.refused: list[str] = []
        self._ends: list[asyncio.Event] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, scope: str, answers: int = 1) -> asyncio.Task[None]:
        task = asyncio.create_task(self._run(scope, answers))
        self._tasks.append(task)
        await settled()
        return task

    async def end_one(self) -> None:
        """Let the oldest that runs end."""
        self._ends.pop(0).set()
        await settled()

    async def _run(self, scope: str, answers: int) -> None:
        try:
            async with self._places.held(scope, answers):
                self.begun.append(scope)
                end = asyncio.Event()
                self._ends.append(end)
                await end.wait()
        except QueueFull:
            self.refused.append(scope)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def crowd(places: int, waiting: int) -> AsyncIterator[tuple[Crowd, FairPlaces]]:
    fair = FairPlaces(places, waiting)
    people = Crowd(fair)
    try:
        yield people, fair
    finally:
        await people.close()
        assert fair.waiting == 0


async def test_who_comes_after_hundreds_of_another_is_next() -> None:
    async with crowd(4, 192) as (people, _):
        for _ in range(196):
            await people.ask("greedy")
        await people.ask("modest")

        await people.end_one()

        assert people.begun == ["greedy"] * 4 + ["modest"]


async def test_two_who_want_much_share_the_places() -> None:
    async with crowd(2, 100) as (people, _):
        for _ in range(10):
            await people.ask("one")
        for _ in range(10):
            await people.ask("other")

        for _ in range(10):
            await people.end_one()

        assert people.begun[2:].count("one") == people.begun[2:].count("other") == 5


async def test_where_all_wait_that_may_the_greediest_makes_way() -> None:
    async with crowd(1, 3) as (people, fair):
        for _ in range(4):
            await people.ask("greedy")
        await people.ask("modest")

        assert people.refused == ["greedy"]
        assert fair.waiting == 3


async def test_who_has_the_most_waiting_gets_no_more() -> None:
    async with crowd(1, 3) as (people, _):
        for _ in range(3):
            await people.ask("greedy")
        await people.ask("modest")
        await people.ask("greedy")

        assert people.refused == ["greedy"]


async def test_several_answers_take_several_places() -> None:
    async with crowd(4, 10) as (people, _):
        await people.ask("one", answers=3)
        await people.ask("other", answers=2)
        await people.ask("third", answers=1)
        assert people.begun == ["one"]

        await people.end_one()

        assert people.begun == ["one", "other", "third"]


async def test_more_than_there_are_is_all_of_them() -> None:
    async with crowd(2, 2) as (people, _):
        await people.ask("one", answers=4)

        assert people.begun == ["one"]


@pytest.mark.parametrize("begun", [False, True])
async def test_who_leaves_holds_up_nobody(begun: bool) -> None:
    async with crowd(1, 10) as (people, fair):
        first = await people.ask("one")
        second = await people.ask("other")
        await people.ask("third")

        (first if begun else second).cancel()
        await settled()
        if not begun:
            await people.end_one()

        assert people.begun == (["one", "other"] if begun else ["one", "third"])
        assert fair.waiting == (1 if begun else 0)


async def test_who_leaves_just_when_its_turn_came_gives_the_place_back() -> None:
    async with crowd(1, 10) as (people, _):
        first = await people.ask("one")
        second = await people.ask("other")
        first.cancel()
        await asyncio.sleep(0)
        second.cancel()
        await settled()

        await people.ask("third")

        assert people.begun[-1] == "third"


async def test_with_less_let_in_the_others_wait_and_are_not_refused() -> None:
    share = 0.5
    people = Crowd(FairPlaces(4, 10, lambda: share))
    for _ in range(4):
        await people.ask("ana")
    assert (people.begun, people.refused) == (["ana"] * 2, [])

    share = 1.0
    await people.end_one()
    assert len(people.begun) == 4
    await people.close()


async def test_a_request_for_more_than_is_let_in_has_its_turn_when_nothing_else_runs() -> None:
    people = Crowd(FairPlaces(4, 10, lambda: 0.5))
    await people.ask("ana")
    await people.ask("ben", answers=4)
    assert people.begun == ["ana"]

    await people.end_one()
    assert people.begun == ["ana", "ben"]
    await people.close()
