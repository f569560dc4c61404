"""Child processes: started in a group of their own, stopped politely, never left behind, and started again when they die."""

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rich.markup import escape

from shared.processes import launching

OWNER_ONLY = 0o077
"""The umask of whatever keeps people's data: what it writes nobody else on the machine may read."""
_SOONEST_SECONDS, _LATEST_SECONDS = 1.0, 30.0
_REMEMBERED_SECONDS = 600
"""Deaths in so much time make the next start later."""
_MOST_DEATHS, _WITHIN_SECONDS = 5, 120
"""What dies so often in so much time ends the run."""


class StartError(Exception):
    """Something could not be started; the message is one line that says what to do."""


class ChildProcess:
    """A command that writes to a log file and can be stopped, killed and started again. Its files are for their owner only."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """`environment` is by default our own, `folder`, in which it is started, where we are."""
        self.name = name
        self.log_path = log_path
        self._command = list(command)
        self._environment = dict(environment) if environment is not None else None
        self._folder = folder
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs and before it was started."""
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, again too.

        Raises:
            StartError: it did not get ready, if it is of a kind that waits for that.
        """
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log_path, "ab", opener=_open_private) as log:  # a path's own `open` takes no opener
            self._process = subprocess.Popen(
                launching(self._command, signal.SIGTERM),  # a `kill -9` of this process leaves nothing running
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._folder,
                umask=OWNER_ONLY,
                start_new_session=True,  # a Ctrl-C at the terminal reaches only the parent, which stops its children in order
            )

    def wait_until(self, ready: Callable[[], bool], *, timeout: float, poll: float = 0.05) -> None:
        """Wait for `ready()` to be true.

        Raises:
            StartError: the process ended, or `timeout` seconds passed; with the last line of its log.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running and not ready():  # asked again: it may have got there just before it ended
                raise StartError(f"{self.name} ended with code {self.exit_code}: {self.last_words()}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} was not ready after {timeout:.0f} s; its log is {self.log_path}")
            time.sleep(poll)

    def last_words(self) -> str:
        """The last line of the log that says anything, for a one-line message."""
        if not self.log_path.exists():
            return "it wrote no log"
        lines = [line.strip() for line in self.log_path.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"it wrote nothing to {self.log_path}"

    def stop(self, timeout: float = 15) -> None:
        """Ask it to end, wait, and kill what is left of its process group."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self._stop_signal)
            with suppress(subprocess.TimeoutExpired):  # what is left then is killed below
                self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """`kill -9` of its process group, as a crash would."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):  # the whole group has ended already
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Restarts:
    """Starts a child again that has died, later each time, until it is plain that it will not stay.

    What depends on one that died waits for it as for one on another machine.
    """

    def __init__(
        self, children: Sequence[ChildProcess], report: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`children` were started and are ready. `report` is given one line for each death and each new start; `clock` tells seconds."""
        self._deaths: dict[ChildProcess, deque[float]] = {child: deque() for child in children}
        self._start_at: dict[ChildProcess, float] = {}
        """Children that have died, and when they are started again."""
        self._report = report
        self._clock = clock

    def check(self) -> None:
        """Note who has died, and start again whose time has come. To be called a few times a second.

        Raises:
            StartError: a child died five times in two minutes; with its last words.
        """
        for child in self._deaths:
            if child not in self._start_at:
                if not child.running:
                    self._died(child, _how_it_ended(child))
            elif self._clock() >= self._start_at[child]:
                self._start(child)

    def _start(self, child: ChildProcess) -> None:
        del self._start_at[child]
        try:
            child.start()
        except StartError as error:
            self._died(child, str(error))
        else:
            self._report(f"[green]✓[/] {child.name} was started again")

    def _died(self, child: ChildProcess, how: str) -> None:
        now, deaths = self._clock(), self._deaths[child]
        deaths.append(now)
        while deaths[0] < now - _REMEMBERED_SECONDS:
            deaths.popleft()
        if sum(death > now - _WITHIN_SECONDS for death in deaths) >= _MOST_DEATHS:
            raise StartError(f"{how} That was the fifth time in two minutes; its log is {child.log_path}")
        delay = min(_SOONEST_SECONDS * 2 ** (len(deaths) - 1), _LATEST_SECONDS)
        self._start_at[child] = now + delay
        self._report(f"[yellow]![/] {escape(how)} It starts again in {delay:.0f} s (its log: {child.log_path})")


def _how_it_ended(child: ChildProcess) -> str:
    code = child.exit_code or 0
    if code < 0:  # its last words were about something else
        return f"{child.name} was ended by {signal.Signals(-code).name}."
    words = child.last_words()
    return f"{child.name} ended with code {code}: {words}{'' if words.endswith('.') else '.'}"


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
