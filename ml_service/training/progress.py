"""What a training process says on standard output: one thread repeats how far it is, so that no long step leaves the worker in doubt."""

import os
import threading
import time
from typing import Any, BinaryIO, Final

import msgspec
from msgspec.structs import replace

from ml_service.training.spec import Failure, Progress, Result, Said

TICK_SECONDS: Final = 0.1
INTERVAL_SECONDS: Final = 0.5
"""Seconds after which the same is said again; what is new is said with the next tick."""


class Reporter:
    """Says `Progress` when it changes and at least twice a second, and in the end a `Result` or a `Failure`. Progress never goes back."""

    def __init__(self, stream: BinaryIO | None) -> None:
        """Begin to speak; without a stream (a process of several that is not the first) nothing is said."""
        self._stream = stream
        self._state = Progress(status="training", progress=0.0, history=[])
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="progress", daemon=True)
        self._thread.start()

    @property
    def state(self) -> Progress:
        return self._state

    def report(self, **changes: Any) -> None:
        """Change fields of `Progress`; they are said with the next line."""
        with self._lock:
            changed = replace(self._state, **changes)
            self._state = replace(changed, progress=round(max(changed.progress, self._state.progress), 2))

    def end(self, said: Result | Failure) -> None:
        """Say the last line."""
        self._ended.set()
        self._thread.join()
        self._say(said)

    def _repeat(self) -> None:
        said, said_at = None, 0.0
        while not self._ended.wait(TICK_SECONDS):
            state = self._state
            if state is said and time.monotonic() - said_at < INTERVAL_SECONDS:
                continue
            said, said_at = state, time.monotonic()
            try:
                self._say(state)
            except OSError:
                os._exit(1)  # nobody listens any more

    def _say(self, said: Said) -> None:
        if self._stream is not None:
            self._stream.write(msgspec.json.encode(said) + b"\n")
            self._stream.flush()
