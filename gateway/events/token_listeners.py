import time
from collections.abc import Iterable
from uuid import UUID

from gateway.events.journal import Journal

_EVERY_SECONDS = 20.0
_FORGOTTEN_SECONDS = 60.0
_WHO = b"who"
_TOKENS = b"tokens "


class TokenListeners:
    """Whose drafts are to be told token by token: those of accounts with a reader, at any gateway, that asked for it.

    Tokens are many and mostly nobody asks for them. A gateway with such a reader tells all gateways at once and then every 20 s; what was
    not repeated for a minute is forgotten. One that has just started asks.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._until: dict[UUID, float] = {}
        self._repeat_at = 0.0
        self._ask = True

    def wanted(self, account_id: UUID) -> bool:
        until = self._until.get(account_id)
        return until is not None and until > time.monotonic()

    async def add(self, account_id: UUID) -> None:
        """A reader here asks for tokens; when this returns every gateway that hears anything has been told.

        Raises:
            Unavailable: Redis is away.
        """
        self._note(account_id)
        await self._journal.tell_gateways(_TOKENS + str(account_id).encode())

    def hear(self, message: bytes) -> None:
        """What a gateway told all gateways."""
        if message == _WHO:
            self._repeat_at = 0.0
        elif message.startswith(_TOKENS):
            self._note(UUID(message.removeprefix(_TOKENS).decode()))

    def connected(self) -> None:
        """Redis is there, maybe again: what was told meanwhile was missed."""
        self._ask = True

    async def repeat(self, account_ids: Iterable[UUID]) -> None:
        """Call it often; `account_ids` have readers here that asked for tokens.

        Raises:
            Unavailable: Redis is away.
        """
        if self._ask:
            await self._journal.tell_gateways(_WHO)
            self._ask = False
        now = time.monotonic()
        if now < self._repeat_at:
            return
        self._repeat_at = now + _EVERY_SECONDS
        self._until = {account_id: until for account_id, until in self._until.items() if until > now}
        for account_id in account_ids:
            await self.add(account_id)

    def _note(self, account_id: UUID) -> None:
        self._until[account_id] = time.monotonic() + _FORGOTTEN_SECONDS
