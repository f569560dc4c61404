"""Tells on standard error how far something is that takes more than two seconds."""

import sys
import time
from typing import Final

_QUIET_SECONDS: Final = 2.0
_TERMINAL_SECONDS, _FILE_SECONDS = 0.5, 10.0
"""How often, where a line is written over, and where each one stays."""


class Progress:
    """Bytes of one step, with the rate, and the share where the whole is known."""

    def __init__(self, step: str, total: int | None = None) -> None:
        """`total` is how many bytes there will be."""
        self._step = step
        self._total = total
        self._done = 0
        self._begin = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._next = self._begin + _QUIET_SECONDS
        self._shown = False

    def add(self, count: int) -> None:
        """Note that so many bytes more are done."""
        self._done += count
        now = time.monotonic()
        if now >= self._next:
            self._next = now + (_TERMINAL_SECONDS if self._terminal else _FILE_SECONDS)
            self._show(now - self._begin)

    def end(self) -> None:
        """Say how it ended, if anything was said."""
        if self._shown:
            self._show(time.monotonic() - self._begin)
            if self._terminal:
                print(file=sys.stderr, flush=True)

    def _show(self, seconds: float) -> None:
        share = f" of {size(self._total)} ({self._done / self._total:.0%})" if self._total else ""
        text = f"{self._step}: {size(self._done)}{share}, {size(int(self._done / seconds))}/s"
        start, end = ("\r\x1b[K", "") if self._terminal else ("", "\n")
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)
        self._shown = True


def say(line: str) -> None:
    """On standard error: standard output may be the backup."""
    print(f"gateway: {line}", file=sys.stderr, flush=True)


def size(count: int) -> str:
    """Bytes for people."""
    number, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
