"""Which of the ML service's replicas is asked."""

import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

AWAY_SECONDS: Final = 5.0
"""A replica that could not be reached is asked last for so long."""


class Rotation:
    """The order in which replicas are asked: a scope's own first, because its prompts and adapter are warm there. There is at least one."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._away_until: dict[str, float] = {}

    def order(self, scope: str) -> list[str]:
        """All of them, those last that could not be reached a moment ago."""
        now = time.monotonic()
        return sorted(by_preference(scope, self._urls), key=lambda url: self._away_until.get(url, 0) > now)

    def leave(self, url: str) -> None:
        """Note that one could not be reached."""
        self._away_until[url] = time.monotonic() + AWAY_SECONDS


def by_preference(scope: str, urls: Sequence[str]) -> list[str]:
    """All replicas, a scope's own first (rendezvous hashing; Thaler and Ravishankar, 1998): when one leaves, only its scopes move."""
    return sorted(urls, key=lambda url: blake2b(f"{scope} {url}".encode(), digest_size=8).digest())
