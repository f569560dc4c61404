import time
from uuid import UUID

NAMED_EVERY_SECONDS = 5.0
_FORGOTTEN_SECONDS = 15.0


class TokenListeners:
    """Accounts with a reader, at any gateway, that asked for the tokens of drafts; for others no token is published.

    A gateway with such a reader names its account to all gateways when it comes, and then every 5 s. An account that was not named for
    15 s has none.
    """

    def __init__(self) -> None:
        self._until: dict[UUID, float] = {}

    def wanted(self, account_id: UUID) -> bool:
        """Whether anybody listens for the tokens of this account's drafts."""
        return self._until.get(account_id, 0.0) > time.monotonic()

    def hear(self, message: bytes) -> None:
        """A gateway has named accounts."""
        now = time.monotonic()
        self._until = {account_id: until for account_id, until in self._until.items() if until > now}
        for account_id in message.decode().split():
            self._until[UUID(account_id)] = now + _FORGOTTEN_SECONDS
