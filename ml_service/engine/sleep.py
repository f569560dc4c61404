"""The lease under which an engine sleeps: whoever put it to sleep must say so again and again, so that nobody's death leaves it asleep."""

import asyncio
import time
from contextlib import suppress


class SleepLease:
    """Held until a time that whoever holds it may move on."""

    def __init__(self) -> None:
        self._ends: float | None = None
        self._free = asyncio.Event()
        self._free.set()

    @property
    def held(self) -> bool:
        """Whether it was taken and not yet released, even if it has run out."""
        return self._ends is not None

    @property
    def seconds_left(self) -> float:
        """How long it lasts if nobody renews it; 0 when it has run out or is not held."""
        return max(0.0, self._ends - time.monotonic()) if self._ends is not None else 0.0

    def take(self, seconds: float) -> None:
        """Hold it for so long from now; one that is held is never shortened."""
        self._ends = max(self._ends or 0.0, time.monotonic() + seconds)
        self._free.clear()

    def release(self) -> None:
        """Nobody holds it any more; who waits for that goes on."""
        self._ends = None
        self._free.set()

    async def freed(self, patience: float) -> None:
        """Wait until nobody holds it, but no longer than `patience` seconds."""
        if self.held:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._free.wait(), patience)
