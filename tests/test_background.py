"""The one way in which services do something beside their requests."""

import asyncio

import pytest
from structlog.testing import capture_logs

from shared import background
from shared.background import FAILURES, BackgroundTask
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE_SECONDS", 0.01)


async def test_an_error_that_it_does_not_know_does_not_end_it() -> None:
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            raise LookupError
        await asyncio.Event().wait()

    before = FAILURES.labels("example")._value.get()
    task = BackgroundTask("example", run)
    with capture_logs() as logs:
        task.start()
        await until(lambda: runs == 4)
        await task.close()

    assert FAILURES.labels("example")._value.get() - before == 3
    assert [type(line["exc_info"]) for line in logs] == [LookupError] * 3
    assert [round(line["again_in"], 2) for line in logs] == [0.01, 0.02, 0.04]


async def test_one_that_returns_has_done_its_work() -> None:
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1

    task = BackgroundTask("example", run)
    task.start()

    assert await task.finished(seconds=60)
    assert runs == 1


async def test_closing_ends_it_and_closing_what_never_began_is_fine() -> None:
    ended = asyncio.Event()

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = BackgroundTask("example", run)
    await task.close()
    task.start()
    await asyncio.sleep(0)
    await task.close()

    assert ended.is_set()
