"""One child process: started in a process group of its own, stopped politely, never left behind."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from shared.processes import launching

OWNER_ONLY = 0o077
"""The umask of whatever keeps people's data: what it writes nobody else on the machine may read."""


class StartError(Exception):
    """Something could not be started; the message is one line that says what to do."""


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


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
        """`folder` is where it is started; none means where we are."""
        self.name = name
        self.log_path = log_path
        self._command = list(command)
        self._environment = dict(environment) if environment is not None else None
        self._folder = folder
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> Self:
        """Itself: what is a server of somebody else's has one."""
        return self

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
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(self._stop_signal)
            with suppress(subprocess.TimeoutExpired):  # what is left then is killed below
                self._process.wait(timeout)
        self._kill_group()

    def kill(self) -> None:
        """`kill -9`, as a crash would."""
        self._kill_group()

    def _kill_group(self) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):  # the whole group has ended already
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
