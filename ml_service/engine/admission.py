"""How much an engine lets in after engines had to be replaced: work that brings one down must not come back whole each time."""

import time
from typing import Final

LEAST_SHARE: Final = 2**-10
"""An engine lets in one answer at least, however small the share is."""


class Admission:
    """The share of the usual work that is let in.

    Each replacement within `window` seconds of the one before halves it; it is whole again when nothing was replaced for so long.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._share = 1.0
        self._replaced = -window

    @property
    def share(self) -> float:
        """Above 0, to 1."""
        return self._share if time.monotonic() - self._replaced < self._window else 1.0

    def replaced(self) -> None:
        """An engine was given up."""
        now = time.monotonic()
        self._share = max(self._share / 2, LEAST_SHARE) if now - self._replaced < self._window else 1.0
        self._replaced = now
