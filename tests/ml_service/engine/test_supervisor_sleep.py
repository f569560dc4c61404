"""An engine that sleeps for training: requests wait, nobody takes it for stuck, and nobody's death leaves it asleep."""

import asyncio
import time

import pytest
from msgspec.structs import replace

from ml_service.engine import supervisor as supervisor_module
from ml_service.engine.protocol import EngineAway
from ml_service.engine.supervisor import EngineSupervisor
from shared.errors import Conflict
from tests.fixtures.waiting import until
from tests.ml_service.engine.test_supervisor import OTHER, QUICK, Garage, supervised, words

pytestmark = pytest.mark.anyio


async def ready(supervisor: EngineSupervisor) -> None:
    await until(lambda: supervisor.state == "ready")


async def test_requests_wait_until_it_wakes() -> None:
    async with supervised(Garage()) as supervisor:
        await ready(supervisor)
        await supervisor.sleep(30)
        assert supervisor.state == "sleeping"
        with pytest.raises(EngineAway, match="trains"):
            supervisor.serving()
        waiting = asyncio.create_task(supervisor.awake())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await supervisor.wake()
        assert await words(await waiting, 3) == 3


async def test_who_has_waited_long_enough_is_told_when_to_come_again() -> None:
    garage = Garage()
    supervisor = EngineSupervisor(garage.load, OTHER, replace(QUICK, sleep_patience_seconds=0.05))
    supervisor.start()
    await ready(supervisor)
    await supervisor.sleep(30)
    with pytest.raises(EngineAway, match="trains") as away:
        await supervisor.awake()
    assert away.value.retry_after
    await supervisor.stop()


async def test_a_sleeping_engine_is_not_taken_for_stuck() -> None:
    garage, reasons = Garage(), list[str]()
    async with supervised(garage, reasons=reasons) as supervisor:
        await ready(supervisor)
        await supervisor.sleep(30)
        await asyncio.sleep(1.5)  # longer than the canary's interval and deadline together
        await supervisor.wake()
        await asyncio.sleep(0.5)
        assert reasons == []
        assert len(garage.engines) == 1


async def test_it_wakes_by_itself_when_nobody_asks_again() -> None:
    async with supervised(Garage()) as supervisor:
        await ready(supervisor)
        await supervisor.sleep(0.2)
        await ready(supervisor)
        assert await words(supervisor.serving(), 3) == 3


async def test_asking_again_moves_its_end_on() -> None:
    async with supervised(Garage()) as supervisor:
        await ready(supervisor)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            await supervisor.sleep(1.5)
            assert supervisor.state == "sleeping"
            await asyncio.sleep(0.1)
        assert 0 < supervisor.sleep_seconds_left <= 1.5


async def test_what_runs_finishes_before_it_sleeps() -> None:
    async with supervised(Garage()) as supervisor:
        await ready(supervisor)
        running = asyncio.create_task(words(supervisor.serving()))
        await asyncio.sleep(0.01)
        await supervisor.sleep(30)
        assert await running == 14


async def test_what_does_not_finish_in_time_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "SLEEP_DRAIN_SECONDS", 0.05)
    garage = Garage()
    async with supervised(garage) as supervisor:
        await ready(supervisor)
        garage.engines[0].token_seconds = 0.2
        running = asyncio.create_task(words(supervisor.serving()))
        await asyncio.sleep(0.01)
        await supervisor.sleep(30)
        with pytest.raises(EngineAway):
            await running


async def test_one_that_dies_asleep_is_replaced_when_the_memory_is_free_again() -> None:
    garage = Garage()
    async with supervised(garage) as supervisor:
        await ready(supervisor)
        await supervisor.sleep(30)
        garage.engines[0].kill()
        await asyncio.sleep(0.5)
        assert len(garage.engines) == 1
        await supervisor.wake()
        await ready(supervisor)
        assert len(garage.engines) == 2


async def test_no_model_is_loaded_meanwhile() -> None:
    async with supervised(Garage()) as supervisor:
        await ready(supervisor)
        await supervisor.sleep(30)
        with pytest.raises(Conflict, match="afterwards"):
            await supervisor.reload(OTHER)


async def test_it_is_not_put_to_sleep_while_another_model_is_loaded() -> None:
    garage = Garage()
    async with supervised(garage) as supervisor:
        await ready(supervisor)
        garage.may_load.clear()
        reloading = asyncio.create_task(supervisor.reload(OTHER))
        await asyncio.sleep(0.02)
        with pytest.raises(Conflict):
            await supervisor.sleep(30)
        garage.may_load.set()
        await reloading


async def test_stopping_does_not_wait_for_it_to_wake() -> None:
    garage = Garage()
    async with supervised(garage) as supervisor:
        await ready(supervisor)
        await supervisor.sleep(30)
    assert not garage.engines[0].alive


async def test_its_end_is_never_brought_nearer() -> None:
    async with supervised(Garage()) as supervisor:
        await ready(supervisor)
        await supervisor.sleep(30)
        await supervisor.sleep(1)
        assert supervisor.sleep_seconds_left > 20
        await supervisor.wake()
        assert supervisor.sleep_seconds_left == 0
