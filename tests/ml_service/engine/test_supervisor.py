import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from ml_service.engine import supervisor as supervisor_module
from ml_service.engine.protocol import EngineAway, LoadedModel, Sampling
from ml_service.engine.scripted_engine import ScriptedEngine, ScriptedRenderer
from ml_service.engine.supervisor import EngineSupervisor, ModelNotLoaded
from ml_service.models.catalogue import ModelEntry, builtin_catalogue
from ml_service.settings import Settings
from shared import background
from shared.errors import Conflict
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

ENTRY = builtin_catalogue()["smollm2-135m-instruct"]
OTHER = replace(ENTRY, name="other")
QUICK = Settings(engine_start_timeout_seconds=5, canary_interval_seconds=0.2, canary_deadline_seconds=1, reload_mode="beside")


class Garage:
    """Makes engines, remembers them, and can be told to fail."""

    def __init__(self) -> None:
        self.engines: list[ScriptedEngine] = []
        self.fail_on: set[str] = set()
        self.loading = asyncio.Event()
        self.may_load = asyncio.Event()
        self.may_load.set()

    async def load(self, entry: ModelEntry) -> LoadedModel:
        self.loading.set()
        await self.may_load.wait()
        if entry.name in self.fail_on:
            raise OSError("no such weights")
        self.engines.append(ScriptedEngine(token_seconds=0.005))
        return LoadedModel(entry=entry, engine=self.engines[-1], renderer=ScriptedRenderer())


@asynccontextmanager
async def supervised(
    garage: Garage, *, load_beside: bool = True, reasons: list[str] | None = None, settings: Settings = QUICK
) -> AsyncIterator[EngineSupervisor]:
    note: Callable[[str], None] = reasons.append if reasons is not None else lambda _reason: None
    settings = replace(settings, reload_mode="beside" if load_beside else "replace")
    supervisor = EngineSupervisor(garage.load, ENTRY, settings, note)
    supervisor.start()
    yield supervisor
    await supervisor.stop()


async def words(model: LoadedModel, tokens: int = 14) -> int:
    return len([delta async for delta in model.engine.generate([1], Sampling(max_tokens=tokens))])


async def test_it_is_ready_only_after_a_first_generation() -> None:
    garage = Garage()
    garage.may_load.clear()
    async with supervised(garage) as supervisor:
        await garage.loading.wait()
        assert supervisor.state == "loading"
        with pytest.raises(EngineAway, match="still being loaded") as away:
            supervisor.serving()
        assert away.value.retry_after
        garage.may_load.set()
        await until(lambda: supervisor.state == "ready")
        assert garage.engines[0].generations == 1


async def test_a_dead_engine_is_away_at_once_and_replaced() -> None:
    garage, reasons = Garage(), list[str]()
    async with supervised(garage, reasons=reasons) as supervisor:
        await until(lambda: supervisor.state == "ready")
        garage.engines[0].kill()
        assert supervisor.state == "rebuilding"
        with pytest.raises(EngineAway):
            supervisor.serving()
        await until(lambda: supervisor.state == "ready")
        assert len(garage.engines) == 2
        assert reasons == ["dead"]


async def test_an_error_that_nobody_expected_does_not_end_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE_SECONDS", 0.01)
    garage = Garage()
    async with supervised(garage) as supervisor:
        await until(lambda: supervisor.state == "ready")
        failed = asyncio.Event()

        def fail(_engine: ScriptedEngine) -> int:
            failed.set()
            raise LookupError

        with monkeypatch.context() as patched:
            patched.setattr(ScriptedEngine, "running", property(fail))
            await failed.wait()
        garage.engines[0].kill()

        await until(lambda: len(garage.engines) == 2 and supervisor.state == "ready")


async def test_a_stuck_engine_is_told_from_a_live_one() -> None:
    garage, reasons = Garage(), list[str]()
    async with supervised(garage, reasons=reasons) as supervisor:
        await until(lambda: supervisor.state == "ready")
        generating = asyncio.create_task(words(supervisor.serving()))
        garage.engines[0].stall()
        await until(lambda: len(garage.engines) == 2)
        assert reasons == ["stuck"]
        with pytest.raises(EngineAway):
            await generating


async def test_an_engine_whose_steps_take_long_is_left_alone_while_it_computes() -> None:
    garage, reasons = Garage(), list[str]()
    settings = replace(QUICK, canary_interval_seconds=0.1, canary_deadline_seconds=0.5)
    async with supervised(garage, reasons=reasons, settings=settings) as supervisor:
        await until(lambda: supervisor.state == "ready")
        generating = asyncio.create_task(words(supervisor.serving()))
        garage.engines[0].stall(share=0.25)
        await asyncio.sleep(3)
        assert reasons == []
        garage.engines[0].resume()
        assert await generating == 14


async def test_an_engine_that_stops_in_the_middle_of_a_long_step_is_stuck() -> None:
    garage, reasons = Garage(), list[str]()
    settings = replace(QUICK, canary_interval_seconds=0.1, canary_deadline_seconds=0.5)
    async with supervised(garage, reasons=reasons, settings=settings) as supervisor:
        await until(lambda: supervisor.state == "ready")
        garage.engines[0].stall(share=0.25)
        await asyncio.sleep(1)
        garage.engines[0].stall()
        await until(lambda: len(garage.engines) == 2)
        assert reasons == ["stuck"]


async def test_an_engine_that_computes_for_ever_without_a_step_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "LONGEST_STEP_SECONDS", 0.5)
    garage, reasons = Garage(), list[str]()
    async with supervised(garage, reasons=reasons) as supervisor:
        await until(lambda: supervisor.state == "ready")
        garage.engines[0].stall(share=1)
        await until(lambda: len(garage.engines) == 2)
        assert reasons == ["stuck"]


async def test_no_canary_is_sent_while_others_make_progress() -> None:
    garage = Garage()
    async with supervised(garage, settings=replace(QUICK, canary_interval_seconds=1, canary_deadline_seconds=5)) as supervisor:
        await until(lambda: supervisor.state == "ready")
        engine = garage.engines[0]
        expected = engine.generations
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            await words(supervisor.serving())
            expected += 1
        assert engine.generations == expected
        await until(lambda: engine.generations > expected)  # a quiet engine is asked


async def test_a_model_that_cannot_be_loaded_is_tried_again() -> None:
    garage = Garage()
    garage.fail_on = {ENTRY.name}
    async with supervised(garage) as supervisor:
        await until(lambda: supervisor.state == "rebuilding")
        garage.fail_on.clear()
        await until(lambda: supervisor.state == "ready")


@pytest.mark.parametrize("load_beside", [True, False])
async def test_another_model_is_loaded_and_what_runs_on_the_old_one_finishes(load_beside: bool) -> None:
    garage = Garage()
    async with supervised(garage, load_beside=load_beside) as supervisor:
        await until(lambda: supervisor.state == "ready")
        generating = asyncio.create_task(words(supervisor.serving()))
        await asyncio.sleep(0.01)
        assert await supervisor.reload(OTHER)
        assert supervisor.serving().entry.name == "other"
        assert await generating == 14
        await until(lambda: not garage.engines[0].alive)


async def test_beside_the_old_one_nothing_is_refused_meanwhile() -> None:
    garage = Garage()
    async with supervised(garage) as supervisor:
        await until(lambda: supervisor.state == "ready")
        garage.may_load.clear()
        reloading = asyncio.create_task(supervisor.reload(OTHER))
        await asyncio.sleep(0.02)
        assert await words(supervisor.serving(), 3) == 3
        with pytest.raises(Conflict):
            await supervisor.reload(OTHER)
        garage.may_load.set()
        assert await reloading


@pytest.mark.parametrize("load_beside", [True, False])
async def test_if_the_new_model_cannot_be_loaded_the_old_one_keeps_serving(load_beside: bool) -> None:
    garage = Garage()
    garage.fail_on = {"other"}
    async with supervised(garage, load_beside=load_beside) as supervisor:
        await until(lambda: supervisor.state == "ready")
        with pytest.raises(ModelNotLoaded, match="keeps serving"):
            await supervisor.reload(OTHER)
        assert supervisor.serving().entry is ENTRY
        assert len(garage.engines) == (1 if load_beside else 2)


async def test_the_model_that_serves_is_not_loaded_again() -> None:
    garage = Garage()
    async with supervised(garage) as supervisor:
        await until(lambda: supervisor.state == "ready")
        assert not await supervisor.reload(ENTRY)
        assert len(garage.engines) == 1


async def test_a_caller_who_leaves_does_not_stop_the_exchange() -> None:
    garage = Garage()
    async with supervised(garage) as supervisor:
        await until(lambda: supervisor.state == "ready")
        garage.may_load.clear()
        caller = asyncio.create_task(supervisor.reload(OTHER))
        await asyncio.sleep(0.02)
        caller.cancel()
        garage.may_load.set()
        await until(lambda: supervisor.entry is OTHER)


async def test_stopping_ends_the_engine() -> None:
    garage = Garage()
    async with supervised(garage) as supervisor:
        await until(lambda: supervisor.state == "ready")
    assert not garage.engines[0].alive
    with pytest.raises(EngineAway, match="stopping"):
        supervisor.serving()
