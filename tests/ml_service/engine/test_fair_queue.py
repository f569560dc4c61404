"""Whose turn it is when more is asked for than the engine takes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ml_service.engine import fair_queue
from ml_service.engine.fair_queue import FairQueue
from ml_service.engine.protocol import QueueFull
from tests.fixtures.waiting import PATIENCE_SECONDS, settled
from tests.ml_service.conftest import running, scripted_settings

pytestmark = pytest.mark.anyio


class Crowd:
    """Requests that run until they are ended; `begun` says whose turn came, in order."""

    def __init__(self, queue: FairQueue) -> None:
        self._queue = queue
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
            async with self._queue.turn(scope, answers):
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
async def crowd(running: int, waiting: int) -> AsyncIterator[tuple[Crowd, FairQueue]]:
    fair = FairQueue(running, waiting)
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


class Clock:
    """What the queue takes for the module `time`; moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(fair_queue, "time", clock)
    return clock


def shares(queue: FairQueue, replacements: int) -> list[float]:
    """The share after each of so many engines was replaced."""
    found = []
    for _ in range(replacements):
        queue.engine_replaced()
        found.append(queue.share)
    return found


def test_each_engine_that_is_replaced_after_the_first_halves_what_is_let_in() -> None:
    assert shares(FairQueue(4, 10), 4) == [1, 0.5, 0.25, 0.125]


def test_it_never_comes_to_nothing() -> None:
    assert shares(FairQueue(4, 10), 2000)[-1] > 0


def test_when_it_has_been_quiet_as_much_as_usual_is_let_in(clock: Clock) -> None:
    queue = FairQueue(4, 10, replacement_window=600)
    queue.engine_replaced()
    clock.now += 599
    queue.engine_replaced()
    clock.now += 599
    assert queue.share == 0.5
    clock.now += 2
    assert queue.share == 1
    assert shares(queue, 2) == [1, 0.5]


async def test_with_less_let_in_the_others_wait_and_are_not_refused(clock: Clock) -> None:
    async with crowd(4, 10) as (people, fair):
        shares(fair, 2)
        for _ in range(4):
            await people.ask("ana")
        assert (people.begun, people.refused) == (["ana"] * 2, [])

        clock.now += 601
        await people.end_one()
        assert len(people.begun) == 4


async def test_a_request_for_more_than_is_let_in_has_its_turn_when_nothing_else_runs() -> None:
    async with crowd(4, 10) as (people, fair):
        shares(fair, 2)
        await people.ask("ana")
        await people.ask("ben", answers=4)
        assert people.begun == ["ana"]

        await people.end_one()
        assert people.begun == ["ana", "ben"]


async def test_health_and_metrics_say_how_much_is_let_in() -> None:
    async with running(scripted_settings()) as service:
        assert (await service.client.get("/health")).json()["admission"] == 1
        for count in (1, 2):
            service.engine.kill()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(service.engines) == count or (await service.client.get("/health")).json()["engine"] != "ready":
                    await asyncio.sleep(0.01)
        assert (await service.client.get("/health")).json()["admission"] == 0.5
        assert "ml_engine_admission 0.5" in (await service.client.get("/metrics")).text
