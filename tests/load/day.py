"""A day's shape, squeezed into minutes."""

import random
import time

_HOURS = (3, 2, 1, 1, 2, 6, 25, 55, 70, 65, 60, 65, 85, 75, 60, 60, 65, 75, 90, 100, 100, 85, 50, 15)
"""How much people do in each hour, of the busiest hour's hundred: next to nothing at night, most in the evening."""
_BUSIEST = 1.0
"""What a device does a second in the busiest hour."""


class Day:
    """Runs from its making on, from midnight to midnight."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = time.monotonic()

    @property
    def passed(self) -> float:
        """Seconds since midnight, of the squeezed day."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        return max(0.0, self._seconds - self.passed)

    @property
    def clock(self) -> str:
        minutes = int(min(self.passed / self._seconds, 1) * 24 * 60)
        return f"{minutes // 60:02d}:{minutes % 60:02d}"

    def activity(self, at: float) -> float:
        """How much is done at a time of the squeezed day, as a share of the busiest hour's."""
        return _HOURS[int(24 * at / self._seconds) % 24] / 100

    def pause(self) -> float:
        """Seconds until a device does the next thing, at random times as they come from independent people.

        This is a Poisson process whose rate changes, by thinning (Lewis and Shedler, 1979).
        """
        passed = self.passed
        at = passed
        while at < self._seconds:
            at += random.expovariate(_BUSIEST)
            if random.random() < self.activity(at):
                break
        return at - passed
