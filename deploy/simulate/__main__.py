"""`python -m deploy.simulate`: how many replicas it takes, and what is full first, at three sizes or at one (docs/SCALE.md)."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.simulate.cluster import Point, accounts_a_replica, around_enough, at
from deploy.simulate.inputs import CPU, GPU, Capacity, Inputs, Load, Replica
from deploy.simulate.limits import Limit, limits, message_rows, replica_hours
from deploy.simulate.plot import plot

SIZES = (1_000, 100_000, 10_000_000)
OUTPUT = Path(".benchmarks/simulate.svg")


def main() -> int:
    """Simulate each size, print its tables, and draw all of them."""
    arguments = parse(sys.argv[1:])
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    begin = time.monotonic()
    inputs = told(arguments)
    a_replica = accounts_a_replica(inputs, arguments.seed)
    sizes: dict[int, list[Point]] = {}
    for accounts in [arguments.accounts] if arguments.accounts else SIZES:
        sized = replace(inputs, load=replace(inputs.load, accounts=accounts))
        points, enough = around_enough(sized, a_replica, arguments.seed)
        in_turn = at(sized, enough.replicas, route="turn", seed=arguments.seed)
        parts = limits(sized, a_replica)
        sizes[accounts] = points
        console.print(_headline(sized), _points(points, enough, in_turn), _limits(parts), _conclusion(sized, parts, enough), sep="\n")
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(plot(sizes))
    console.print(f"Simulated in {time.monotonic() - begin:.0f} s; the plot is {OUTPUT}")
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate", description="How many replicas it takes, and what is full first.")
    parser.add_argument("--accelerator", choices=("gpu", "cpu"), default="gpu", help="what an ML replica runs on")
    parser.add_argument("--seed", type=_whole, metavar="N", default=1, help="other drafts")
    parser.add_argument("--accounts", type=_whole, metavar="N", help="one size; by default three")
    for part in (Load, Replica, Capacity):
        for field in fields(part):
            if field.name != "accounts":
                name, number = f"--{field.name.replace('_', '-')}", _whole if field.type is int else _number
                parser.add_argument(name, type=number, metavar="N", help="deploy/simulate/inputs.py says what it is")
    return parser.parse_args(words)


def _number(word: str) -> float:
    value = float(word)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be greater than 0; for next to nothing give 0.000001")
    return value


def _whole(word: str) -> int:
    if not word.isdecimal() or int(word) == 0:
        raise argparse.ArgumentTypeError("must be a whole number of 1 or more")
    return int(word)


def told(arguments: argparse.Namespace) -> Inputs:
    """The defaults, but for what the command line says."""

    def changed(part: Load | Replica | Capacity) -> dict[str, Any]:
        values = {field.name: getattr(arguments, field.name) for field in fields(part)}
        return {name: value for name, value in values.items() if value is not None}

    load, replica, capacity = Load(), CPU if arguments.accelerator == "cpu" else GPU, Capacity()
    return Inputs(
        load=replace(load, **changed(load)), replica=replace(replica, **changed(replica)), capacity=replace(capacity, **changed(capacity))
    )


def _headline(inputs: Inputs) -> str:
    load = inputs.load
    return (
        f"\n{load.accounts:,} accounts: {load.accounts * load.messages_per_day:,.0f} messages and {load.drafts_a_day:,.0f} drafts a day, "
        f"{load.drafts_a_day / 86_400:,.1f} drafts a second in the mean and {load.peak_drafts_a_second:,.1f} at the peak; "
        f"{message_rows(inputs):,.0f} rows of messages after {12 * load.years:g} months"
    )


def _points(points: Sequence[Point], enough: Point, in_turn: Point) -> Table:
    table = Table(
        "ML replicas", "p50 s", "p95 s", "p99 s", "adapter loaded", "prefix cached", "busy", "drafts in batch", "refused", "simulated"
    )
    for name, point in [*((f"{point.replicas:,}", point) for point in points), (f"{in_turn.replicas:,}, in turn", in_turn)]:
        table.add_row(
            f"[bold]{name}[/]" if point is enough else name,
            *(f"{value:.2f}" for value in (point.p50, point.p95, point.p99)),
            *(f"{share:.0%}" for share in (point.adapter_hits, point.prefix_hits, point.busy)),
            f"{point.batch:.1f}",
            f"{point.refused / max(1, point.arrived):.1%}",
            f"{point.arrived:,} drafts on {point.simulated}",
        )
    return table


def _limits(parts: Sequence[Limit]) -> Table:
    table = Table("part", "needed", "one holds", "so many", "full at accounts", "what answers it")
    for each in parts:
        style = "red" if each.needed > each.one_holds else ""
        amounts = (f"{_short(each.needed)} {each.unit}", _short(each.one_holds), f"{each.parts:,}", f"{each.up_to:,.0f}")
        table.add_row(each.part, *amounts, each.remedy, style=style)
    return table


def _conclusion(inputs: Inputs, parts: Sequence[Limit], enough: Point) -> str:
    first = parts[0]
    full = [each.part for each in parts if each.needed > each.one_holds]
    said = f"First limit: {first.part}, at {first.up_to:,.0f} accounts. "
    said += f"More than one of: {', '.join(full)}. " if full else "One of each is enough. "
    return f"{said}Replicas in the mean of a day, if they follow its curve: {replica_hours(enough.replicas):,.1f} of {enough.replicas:,}."


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
