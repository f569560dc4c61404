"""What a training process says on standard output: one thread repeats how far it is, so that no long step leaves the worker in doubt."""

import os
import threading
from typing import Any, BinaryIO, Final

import msgspec
from msgspec.structs import replace

from ml_service.training.spec import Failure, Progress, Result, Said

INTERVAL_SECONDS: Final = 0.5


class Reporter:
    """Says `Progress` twice a second, and in the end a `Result` or a `Failure`. Progress never goes back."""

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
        while not self._ended.wait(INTERVAL_SECONDS):
            try:
                self._say(self._state)
            except OSError:
                os._exit(1)  # nobody listens any more

    def _say(self, said: Said) -> None:
        if self._stream is not None:
            self._stream.write(msgspec.json.encode(said) + b"\n")
            self._stream.flush()
