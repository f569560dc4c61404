"""`assistant` as a process, with or without a terminal."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.fixtures.waiting import PATIENCE_SECONDS

COMMAND = [sys.executable, "-m", "assistant_client"]


class CommandLine:
    """A user with a home of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            "PYTHONPATH": "clients/python",
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "TERM": "xterm",
            "COLUMNS": "200",
        }

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Without a terminal."""
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def good(self, *arguments: str) -> str:
        """What a run prints that goes well."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*COMMAND, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def on_terminal(self, *arguments: str) -> "Terminal":
        return Terminal([*COMMAND, *arguments], self.environment)


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(command, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.seen = ""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def wait_for(self, text: str) -> None:
        """Read until this is on the screen."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            self._read()

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Read the rest; returns the exit code."""
        while self._read():
            pass
        return self._process.wait(PATIENCE_SECONDS)

    def _read(self) -> bool:
        try:
            part = os.read(self._master, 65536)
        except OSError:  # the other side is gone
            return False
        self.seen += part.decode(errors="replace")
        return bool(part)
