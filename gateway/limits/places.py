from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from shared.errors import AppError


class Places:
    """Things that take long, of which each account may have so many at the same time in this process."""

    def __init__(self, limit: int, refusal: Callable[[], AppError]) -> None:
        """`refusal` makes what is said to whoever wants one more."""
        self._limit = limit
        self._refusal = refusal
        self._taken: Counter[UUID] = Counter()

    def check(self, account_id: UUID) -> None:
        """For whoever takes a place a moment later.

        Raises:
            TooManyRequests: the account has none left.
        """
        if self._taken.get(account_id, 0) >= self._limit:
            raise self._refusal()

    @contextmanager
    def taken(self, account_id: UUID) -> Iterator[None]:
        """Hold a place while the block runs.

        Raises:
            TooManyRequests: the account has none left; the block did not begin.
        """
        self.check(account_id)
        self._taken[account_id] += 1
        try:
            yield
        finally:
            self._taken[account_id] -= 1
            if not self._taken[account_id]:
                del self._taken[account_id]
