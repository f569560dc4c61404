from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.processes import ChildProcess, Restarts, StartError
from tests.fixtures.waiting import eventually


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def watch_for_two_minutes(restarts: Restarts, clock: Clock, child: ChildProcess) -> None:
    while clock.now < 120:
        eventually(lambda: not child.running)
        restarts.check()
        clock.now += 0.5


@pytest.fixture
def child(tmp_path: Path) -> Iterator[ChildProcess]:
    child = ChildProcess("Example", ["sleep", "600"], log_path=tmp_path / "log")
    child.start()
    yield child
    child.kill()


def test_who_dies_is_started_again_later_each_time(child: ChildProcess) -> None:
    clock, lines = Clock(), list[str]()
    restarts = Restarts([child], lines.append, clock)
    waited = []
    for _ in range(7):
        child.kill()
        restarts.check()
        died_at = clock.now
        while not child.running:
            clock.now += 0.5
            restarts.check()
        waited.append(clock.now - died_at)
        clock.now += 31  # it runs for a while

    assert waited == [1, 2, 4, 8, 16, 30, 30]
    assert "Example was ended by SIGKILL." in lines[0]
    assert lines[1].endswith("Example was started again")


def test_who_dies_five_times_in_two_minutes_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    child = ChildProcess("Example", ["sh", "-c", "echo no such model; exit 3"], log_path=tmp_path / "log")
    child.start()
    clock, lines = Clock(), list[str]()
    restarts = Restarts([child], lines.append, clock)

    with pytest.raises(StartError, match=r"Example ended with code 3: no such model\. That was the fifth time in two minutes"):
        watch_for_two_minutes(restarts, clock, child)

    assert len([line for line in lines if "ended" in line]) == 4


class NeverReady(ChildProcess):
    """One whose first start went well and whose later ones do not."""

    def start(self) -> None:
        raise StartError("Example was not ready after 60 s.")


def test_a_start_that_fails_counts_as_a_death(tmp_path: Path) -> None:
    child = NeverReady("Example", ["sleep", "600"], log_path=tmp_path / "log")
    clock, lines = Clock(), list[str]()
    restarts = Restarts([child], lines.append, clock)

    with pytest.raises(StartError, match="Example was not ready after 60 s"):
        watch_for_two_minutes(restarts, clock, child)

    assert len(lines) == 4
