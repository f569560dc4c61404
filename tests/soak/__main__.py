"""`make soak MINUTES=20`: everything that `make run` starts, under load, with each child killed at random; then what became of it.

In the first half of the time the killer is at work, in the second half nothing dies and memory is watched. It fails, with the reasons, when
an accepted draft was lost or made twice, when an engine was given up that nobody had killed, or when memory grew.
"""

import argparse
import asyncio
import random
import re
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.live import Live
from rich.table import Table

from tests.factories import paired_device
from tests.fixtures.local_run import LocalRun, local_run
from tests.fixtures.ml_service import data_folder
from tests.soak.load import Person, live, rows_of
from tests.soak.plot import plot

OUTPUT = Path(".benchmarks/soak.svg")
PEOPLE = 3
LOOK_SECONDS = 5.0
GROWTH = 0.1
"""How much more memory may be in use at the end than after the first quarter of the time in which nothing dies."""
CHILDREN = {
    "PostgreSQL": r"/bin/postgres ",
    "Valkey": r"valkey-server",
    "ML service": r"-m ml_service$",
    "Engine": r"EngineCore",
    "Generation worker": r"-m ml_service\.jobs generation",
    "Training worker": r"-m ml_service\.jobs training",
    "Gateway": r"-m gateway serve",
}


@dataclass
class Watched:
    """What is seen from outside, over time: mebibytes by process, and who was killed when (seconds from the start)."""

    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    kills: list[tuple[float, str]] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description="Load, kill and watch everything. MINUTES=20")
    parser.add_argument("minutes", type=float, nargs="?", default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="for the same kills again")
    arguments = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(f"seed {arguments.seed}")
    random.seed(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        data = data_folder(Path(name) / "data")
        console.print("starting everything")
        with local_run(data) as run:
            failures = asyncio.run(_soak(arguments.minutes * 60, data, run, console))
            dead = run.process.poll()
            if run.end(signal.SIGINT) != 0 or dead is not None:
                failures.append(f"make run ended with code {run.process.returncode}: {run.output[-500:]}")
    for failure in failures:
        console.print(f"[red]✗[/] {failure}")
    console.print(f"{'failed' if failures else '[green]✓[/] nothing was lost, doubled or leaked'}; the plot is {OUTPUT}")
    return 1 if failures else 0


async def _soak(seconds: float, data: Path, run: LocalRun, console: Console) -> list[str]:
    people = [Person(paired_device(run.url)) for _ in range(PEOPLE)]
    watched, stop = Watched(), asyncio.Event()
    root = run.process.pid
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number, person in enumerate(people):
            group.create_task(live(person, stop, trains=number == 0))
        with Live(console=console, refresh_per_second=1) as screen:  # shows its last state only where there is no terminal
            killer = group.create_task(_kill(root, began, seconds / 2, watched))
            while (passed := time.monotonic() - began) < seconds or any(person.counts["left"] for person in people):
                if passed >= seconds:
                    stop.set()
                _look(root, passed, watched)
                screen.update(_table(people, watched, passed, seconds))
                await asyncio.sleep(LOOK_SECONDS)
            stop.set()
        killer.cancel()
    rows = [await rows_of(person) for person in people]
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(plot(watched.memory, watched.kills))
    _totals(people, watched, console)
    failures = [each for person, found in zip(people, rows, strict=True) for each in _promises(person, found)]
    return failures + _memory(watched, seconds / 2) + _rebuilds(data, watched)


async def _kill(root: int, began: float, until: float, watched: Watched) -> None:
    """Each child once, in any order, at any time of the first half."""
    victims = random.sample(list(CHILDREN), len(CHILDREN))
    slot = until / (len(victims) + 1)
    for name in victims:
        await asyncio.sleep(slot * random.uniform(0.7, 1.0))
        for process in _processes(root).get(name, []):
            process.kill()
        watched.kills.append((time.monotonic() - began, name))


def _processes(root: int) -> dict[str, list[psutil.Process]]:
    """The children by their names; an engine has the title of its own."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.Process(root).children(recursive=True):
        try:
            line = " ".join(process.cmdline()) or process.name()
        except psutil.Error:  # it has just ended
            continue
        for name, pattern in CHILDREN.items():
            if re.search(pattern, line):
                found.setdefault(name, []).append(process)
    return found


def _look(root: int, passed: float, watched: Watched) -> None:
    for name, processes in _processes(root).items():
        mib = 0.0
        for process in processes:
            try:
                mib += process.memory_full_info().uss / 2**20
            except psutil.Error:
                continue
        if mib:
            watched.memory.setdefault(name, []).append((passed, mib))


def _promises(person: Person, rows: dict[str, str]) -> list[str]:
    accepted = list(person.queued.values())
    failures = [f"an accepted draft is {rows.get(draft, 'gone')}" for draft in accepted if rows.get(draft) != "completed"]
    failures += [f"a draft was told {len(person.told.get(draft, ()))} times" for draft in accepted if len(person.told.get(draft, ())) != 1]
    if len(set(accepted)) != len(accepted):
        failures.append("two requests got the same draft")
    others = rows.keys() - set(accepted) - person.direct
    if len(others) > person.unsure:
        failures.append(f"{len(others)} drafts that nobody asked for, of {person.unsure} whose answer was lost")
    return failures


def _memory(watched: Watched, quiet_from: float) -> list[str]:
    """The gateway's and the ML service's memory at the end of the quiet half, beside what it was after its first quarter."""
    failures = []
    for name in ("Gateway", "ML service", "Engine"):
        quiet = [mib for at, mib in watched.memory.get(name, []) if at >= quiet_from]
        quarter = len(quiet) // 4
        if quarter < 3:
            failures.append(f"{name}: too short a time to say anything of its memory")
            continue
        before, after = statistics.median(quiet[quarter : 2 * quarter]), statistics.median(quiet[-quarter:])
        if abs(after / before - 1) > GROWTH:
            failures.append(f"{name}: {before:.0f} MiB became {after:.0f} MiB")
    return failures


def _rebuilds(data: Path, watched: Watched) -> list[str]:
    given_up = (data / "logs" / "ml_service.log").read_text(errors="replace").count("engine given up")
    killed = sum(name == "Engine" for _, name in watched.kills)
    return [f"{given_up} engines were given up, {killed} were killed"] if given_up > killed else []


def _table(people: list[Person], watched: Watched, passed: float, seconds: float) -> Table:
    table = Table("time", "queued", "left", "direct", "refused", "killed", *(f"{name} MiB" for name in watched.memory))
    refused = sum(count for person in people for name, count in person.counts.items() if name.split()[-1] in ("429", "500", "503"))
    table.add_row(
        f"{passed:.0f} of {seconds:.0f} s",
        str(sum(len(person.queued) for person in people)),
        str(sum(person.counts["left"] for person in people)),
        str(sum(len(person.direct) for person in people)),
        str(refused),
        ", ".join(name for _, name in watched.kills),
        *(f"{values[-1][1]:.0f}" for values in watched.memory.values()),
    )
    return table


def _totals(people: list[Person], watched: Watched, console: Console) -> None:
    table = Table("what", "count")
    names = sorted({name for person in people for name in person.counts})
    for name in names:
        table.add_row(name, str(sum(person.counts[name] for person in people)))
    for at, name in watched.kills:
        table.add_row(f"{name} killed", f"after {at:.0f} s")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
