"""What everything that `make run` starts takes from the processor while nobody asks for anything."""

import signal
import time
from pathlib import Path

import psutil

from tests.benchmarks.measure import Goal, Measurement
from tests.fixtures.local_run import LocalRun, local_run
from tests.fixtures.ml_service import data_folder

SETTLE_SECONDS = 20.0
"""What the start left to do is done by then."""


def measure(folder: Path, watched_seconds: float) -> list[Measurement]:
    """Percent of one core, of all processes together and of each with its children."""
    with local_run(data_folder(folder / "idle")) as run:
        time.sleep(SETTLE_SECONDS)
        before, begin = _seconds(run), time.monotonic()
        time.sleep(watched_seconds)
        after, end = _seconds(run), time.monotonic()
        run.end(signal.SIGTERM)
    unit = "% of a core"
    percent = {name: 100 * (after[name] - seconds) / (end - begin) for name, seconds in before.items()}
    return [
        Measurement(what="idle, all of make run", unit=unit, ours=[sum(percent.values())], goal=Goal(rule="at most", value=2)),
        *(Measurement(what=f"idle, {name}", unit=unit, ours=[share]) for name, share in percent.items()),
    ]


def _seconds(run: LocalRun) -> dict[str, float]:
    """Processor time so far: of the process that started the others, and of each of those with all that it started."""
    root = psutil.Process(run.process.pid)
    spent = {"deploy.local": _own(root)}
    for child in root.children():
        spent[_name(child)] = sum(_with_ended(process) for process in (child, *child.children(recursive=True)))
    return spent


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _with_ended(process: psutil.Process) -> float:
    """With its children that have ended, such as PostgreSQL's short-lived workers."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # it ended just now, and is its parent's from here on
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _name(process: psutil.Process) -> str:
    command = process.cmdline()
    return " ".join(command[command.index("-m") + 1 :]) if "-m" in command else Path(command[0].split()[0]).name
