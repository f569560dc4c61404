"""`make bench`: every figure beside its raw limit, measured in one run; a table, and the same as JSON in `.benchmarks/latest.json`."""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks import (
    formats,
    gpu,
    hop,
    idle,
    importing,
    learning,
    memory,
    queue,
    queued,
    side_by_side,
    storage,
    sync,
    tokens,
    training,
    workspace,
)
from tests.benchmarks.measure import Measurement, spread
from tests.benchmarks.system import BenchmarkSystem, running_system

OUTPUT = Path(".benchmarks/latest.json")

Part = Callable[["Bench"], list[Measurement]]


class Bench:
    """What the parts share: a folder, the number of rounds, and the whole system, which is started for the first that wants it."""

    def __init__(self, folder: Path, rounds: int, console: Console, stack: ExitStack, *, quick: bool) -> None:
        self.folder = folder
        self.rounds = rounds
        self.quick = quick
        self._console = console
        self._stack = stack

    @cached_property
    def system(self) -> BenchmarkSystem:
        return self._stack.enter_context(running_system(self.folder, self._console))

    @property
    def sync_target(self) -> sync.Target:
        device = self.system.device
        return sync.Target(
            gateway_url=self.system.gateway.url, token=device.token, account_id=device.account_id, database_url=self.system.database_url
        )


# In this order: what needs the system's ML service comes before `tokens`, which ends it.
PARTS: dict[str, Part] = {
    "memory": lambda bench: memory.measure(bench.system),
    "learning": lambda bench: learning.measure(bench.system, bench.folder, bench.rounds),
    "sync": lambda bench: sync.measure(bench.sync_target, bench.rounds),
    "tokens": lambda bench: asyncio.run(tokens.measure(bench.system, bench.folder, bench.rounds)),
    "hop": lambda bench: hop.measure(bench.folder, bench.rounds),
    "queue": lambda bench: queue.measure(bench.folder, bench.rounds),
    "queued": lambda bench: queued.measure(bench.folder, bench.rounds),
    "workspace": lambda bench: workspace.measure(bench.folder, bench.rounds),
    "idle": lambda bench: idle.measure(bench.folder, watched_seconds=30 if bench.quick else 60),
    "training": lambda bench: training.measure(bench.folder, bench.rounds, replies=30 if bench.quick else 60),
    "side_by_side": lambda bench: asyncio.run(side_by_side.measure(bench.folder, bench.rounds)),
    "storage": lambda bench: storage.measure(bench.folder),
    "import": lambda bench: importing.measure(bench.folder, bench.rounds, messages=10_000 if bench.quick else 100_000),
    "formats": lambda bench: formats.measure(bench.rounds),
    "gpu": lambda bench: asyncio.run(gpu.measure(bench.folder, bench.rounds)),
}
ON_CPU = tuple(part for part in PARTS if part != "gpu")
ON_GPU = ("gpu", "training", "side_by_side")
QUICK = ("training", "side_by_side", "formats", "idle", "import")
"""What `--quick` measures, once each and with less work: what a machine's processor decides."""


def main() -> int:
    """Measure what was asked for and print it; the exit code says only whether it could be measured."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure against the raw limits. ARGS='--only tokens --rounds 5'")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="which parts")
    parser.add_argument("--rounds", type=int, help="rounds a side (5)")
    parser.add_argument("--quick", action="store_true", help="the main figures in six minutes")
    parser.add_argument("--gpu", action="store_true", help="what a GPU changes, once each")
    arguments = parser.parse_args()
    once = arguments.quick or arguments.gpu
    parts = arguments.only or (ON_GPU if arguments.gpu else QUICK if arguments.quick else ON_CPU)
    rounds = arguments.rounds or (1 if once else 5)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        bench = Bench(Path(name), rounds, console, stack, quick=arguments.quick)
        for part in (part for part in PARTS if part in parts):
            begin = time.monotonic()
            console.print(f"measuring {part}")
            measured = PARTS[part](bench)
            console.print(_table(measured), f"measured {part} in {time.monotonic() - begin:.0f} s")
            measurements += measured
            OUTPUT.parent.mkdir(exist_ok=True)
            OUTPUT.write_text(json.dumps(_report(measurements), indent=2))
    console.print(_table(measurements))
    console.print(f"The same as JSON: {OUTPUT}")
    return 0


def _table(measurements: list[Measurement]) -> Table:
    table = Table("what", "ours: median [low…high]", "against", "raw: median [low…high]", "ratio", "goal", "")
    for each in measurements:
        goal = f"{each.goal.rule} {each.goal.value:g}" if each.goal else "report"
        verdict = {True: "[green]reached[/]", False: "[red]short[/]", None: ""}[each.reached]
        judged = f" ({each.judged:.2f})" if each.judged is not None and each.goal and not each.goal.rule.startswith("ratio") else ""
        ratio = f"{each.ratio:.2f}" if each.ratio is not None else ""
        table.add_row(each.what, f"{spread(each.ours)} {each.unit}", each.against, spread(each.theirs), ratio, goal + judged, verdict)
    return table


def _report(measurements: list[Measurement]) -> dict[str, object]:
    return {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "system": platform.machine()},
        "measurements": [{**asdict(each), "ratio": each.ratio, "judged": each.judged, "reached": each.reached} for each in measurements],
    }


if __name__ == "__main__":
    sys.exit(main())
