"""Starts a child again that has died, later each time, until it is plain that it will not stay."""

import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rich.markup import escape

from deploy.local.processes import ChildProcess, StartError

_SOONEST_SECONDS, _LATEST_SECONDS = 1.0, 30.0
_REMEMBERED_SECONDS = 600
"""Deaths in so much time make the next start later."""
_MOST_DEATHS, _WITHIN_SECONDS = 5, 120
"""What dies so often in so much time ends the run."""


class Part(Protocol):
    """A server or a process of the project."""

    @property
    def process(self) -> ChildProcess: ...

    def start(self) -> None:
        """Start it, again too.

        Raises:
            StartError: it did not get ready.
        """

    def stop(self) -> None: ...


@dataclass(slots=True)
class _Child:
    part: Part
    deaths: deque[float] = field(default_factory=deque)
    start_at: float | None = None  # None: it runs, as far as is known


class Restarts:
    """Looks after parts that were started and are ready. What depends on one that died waits for it as for one on another machine."""

    def __init__(self, parts: Sequence[Part], report: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`report` is given one line for each death and each new start; `clock` tells seconds."""
        self._children = [_Child(part) for part in parts]
        self._report = report
        self._clock = clock

    def look(self) -> None:
        """Note who has died, and start again whose time has come. To be called a few times a second.

        Raises:
            StartError: a part died five times in two minutes; with its last words.
        """
        for child in self._children:
            if child.start_at is None:
                if not child.part.process.running:
                    self._died(child, _how_it_ended(child.part.process))
            elif self._clock() >= child.start_at:
                self._start(child)

    def _start(self, child: _Child) -> None:
        child.start_at = None
        try:
            child.part.start()
        except StartError as error:
            self._died(child, str(error))
        else:
            self._report(f"[green]✓[/] {child.part.process.name} was started again")

    def _died(self, child: _Child, how: str) -> None:
        now = self._clock()
        child.deaths.append(now)
        while child.deaths[0] < now - _REMEMBERED_SECONDS:
            child.deaths.popleft()
        if sum(death > now - _WITHIN_SECONDS for death in child.deaths) >= _MOST_DEATHS:
            raise StartError(f"{how} That was the fifth time in two minutes; its log is {child.part.process.log_path}")
        delay = min(_SOONEST_SECONDS * 2 ** (len(child.deaths) - 1), _LATEST_SECONDS)
        child.start_at = now + delay
        self._report(f"[yellow]![/] {escape(how)} It starts again in {delay:.0f} s (its log: {child.part.process.log_path})")


def _how_it_ended(process: ChildProcess) -> str:
    code = process.exit_code or 0
    if code < 0:  # its last words were about something else
        return f"{process.name} was ended by {signal.Signals(-code).name}."
    words = process.last_words()
    return f"{process.name} ended with code {code}: {words}{'' if words.endswith('.') else '.'}"
