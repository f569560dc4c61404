"""What a benchmark brings back, and how it is judged.

Every figure stands beside a raw limit that was measured in the same run, in rounds that alternate, because a machine's speed drifts.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Rule = Literal["ratio at least", "ratio at most", "added at most", "at least", "at most"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure should reach; `ratio` is ours by theirs, `added` is ours less theirs, in the measurement's unit."""

    rule: Rule
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One line of the table: a value a round, and beside it the raw limit's, if there is one."""

    what: str
    unit: str
    ours: Sequence[float]
    against: str = ""
    theirs: Sequence[float] = ()
    goal: Goal | None = None

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' ratios: both sides of a round saw the same machine."""
        if len(self.theirs) != len(self.ours) or not self.theirs:
            return None
        return statistics.median(ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True))

    @property
    def judged(self) -> float | None:
        """The number that the goal speaks of."""
        if self.goal is None:
            return None
        match self.goal.rule:
            case "ratio at least" | "ratio at most":
                return self.ratio
            case "added at most":
                return statistics.median(ours - theirs for ours, theirs in zip(self.ours, self.theirs, strict=True))
            case "at least" | "at most":
                return statistics.median(self.ours)

    @property
    def reached(self) -> bool | None:
        """Whether the goal was reached; None when there is none."""
        judged = self.judged
        if self.goal is None or judged is None:
            return None
        return judged >= self.goal.value if self.goal.rule.endswith("at least") else judged <= self.goal.value


def spread(values: Sequence[float]) -> str:
    """Median, and in brackets the lowest and highest round."""
    if not values:
        return ""
    median, low, high = statistics.median(values), min(values), max(values)
    return f"{_short(median)} [{_short(low)}…{_short(high)}]" if len(values) > 1 else _short(median)


def alternate(rounds: int, *sides: Callable[[], float]) -> list[list[float]]:
    """Run each side once a round, turning the order each round; returns each side's values."""
    values: list[list[float]] = [[] for _ in sides]
    for number in range(rounds):
        order = range(len(sides)) if number % 2 == 0 else reversed(range(len(sides)))
        for index in order:
            values[index].append(sides[index]())
    return values


def _short(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
