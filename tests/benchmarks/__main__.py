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
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks import cached, memory, tokens
from tests.benchmarks.measure import Measurement, spread
from tests.benchmarks.system import BenchmarkSystem, running_system

OUTPUT = Path(".benchmarks/latest.json")

Benchmark = Callable[[BenchmarkSystem, Path, int], list[Measurement]]
BENCHMARKS: dict[str, Benchmark] = {
    "memory": lambda system, _folder, _rounds: memory.measure(system),
    "cached": lambda system, _folder, rounds: cached.measure(system, rounds),
    "tokens": lambda system, folder, rounds: asyncio.run(tokens.measure(system, folder, rounds)),
}


def main() -> int:
    """Measure what was asked for and print it; the exit code says only whether it could be measured."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure against the raw limits. ARGS='--only tokens --rounds 5'")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), help="which parts")
    parser.add_argument("--rounds", type=int, default=3, help="rounds a side")
    arguments = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory() as name, running_system(Path(name), console) as system:
        for part in arguments.only:
            begin = time.monotonic()
            with console.status(f"measuring {part}"):
                measurements += BENCHMARKS[part](system, Path(name), arguments.rounds)
            console.print(f"measured {part} in {time.monotonic() - begin:.0f} s")
    console.print(_table(measurements))
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(_report(measurements), indent=2))
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
