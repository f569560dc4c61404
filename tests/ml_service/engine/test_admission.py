"""Engines that are given up one soon after another: each lets in less than the one before, until it is quiet again."""

import asyncio

import pytest
from structlog.testing import CapturingLogger

from ml_service.engine import admission as admission_module
from ml_service.engine import supervisor as supervisor_module
from ml_service.engine.admission import Admission
from ml_service.engine.protocol import QueueFull
from ml_service.engine.supervisor import EngineSupervisor
from tests.fixtures.waiting import until
from tests.ml_service.conftest import running, scripted_settings
from tests.ml_service.engine.test_supervisor import Garage, supervised, words

pytestmark = pytest.mark.anyio


class Clock:
    """What the admission takes for the module `time`; moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(admission_module, "time", clock)
    return clock


async def given_up(garage: Garage, supervisor: EngineSupervisor, times: int) -> None:
    """Kill so many engines, and wait for the next."""
    for _ in range(times):
        await until(lambda: supervisor.state == "ready")
        count = len(garage.engines)
        garage.engines[-1].kill()
        await until(lambda count=count: len(garage.engines) > count)  # type: ignore[misc]
    await until(lambda: supervisor.state == "ready")


def test_each_one_after_the_first_halves_it() -> None:
    admission = Admission(window=600)
    shares = [admission.share]
    for _ in range(4):
        admission.replaced()
        shares.append(admission.share)
    assert shares == [1, 1, 0.5, 0.25, 0.125]


def test_it_never_comes_to_nothing() -> None:
    admission = Admission(window=600)
    for _ in range(2000):
        admission.replaced()
    assert admission.share > 0


async def test_one_alone_changes_nothing() -> None:
    garage = Garage()
    async with supervised(garage) as supervisor:
        await given_up(garage, supervisor, times=1)
        assert supervisor.admission == 1


async def test_after_two_the_next_lets_in_half_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    log = CapturingLogger()
    monkeypatch.setattr(supervisor_module, "log", log)
    garage = Garage(capacity=8)
    async with supervised(garage) as supervisor:
        await given_up(garage, supervisor, times=2)
        assert supervisor.admission == 0.5
        assert [call.kwargs for call in log.calls if "less is let in" in call.args[0]] == [{"share": 0.5}]

        garage.engines[-1].stall()
        taken = [asyncio.create_task(words(supervisor.serving())) for _ in range(4)]
        await until(lambda: supervisor.load.running == 4)
        with pytest.raises(QueueFull):
            await words(supervisor.serving())
        garage.engines[-1].resume()
        assert await asyncio.gather(*taken) == [14] * 4


async def test_when_it_has_been_quiet_the_same_engine_lets_in_as_much_as_usual(clock: Clock) -> None:
    garage = Garage(capacity=8)
    async with supervised(garage) as supervisor:
        await given_up(garage, supervisor, times=1)
        clock.now += 599
        await given_up(garage, supervisor, times=1)
        assert garage.engines[-1].limit == 4
        clock.now += 599
        assert supervisor.admission == 0.5
        clock.now += 2
        assert supervisor.admission == 1
        await until(lambda: garage.engines[-1].limit == 8)
        assert len(garage.engines) == 3


async def test_health_and_metrics_say_so() -> None:
    async with running(scripted_settings()) as service:
        assert (await service.client.get("/health")).json()["admission"] == 1
        for count in (1, 2):
            service.engine.kill()
            async with asyncio.timeout(5):
                while len(service.engines) == count or (await service.client.get("/health")).json()["engine"] != "ready":
                    await asyncio.sleep(0.01)
        assert (await service.client.get("/health")).json()["admission"] == 0.5
        assert "ml_engine_admission 0.5" in (await service.client.get("/metrics")).text
