"""What else must go when a message's text goes: whatever was made from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from gateway.database import Db
from gateway.events.publisher import PendingEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What there is to tell when it is committed, and the account's active adapter if it learnt from what went."""

    events: list[PendingEvent]
    active_adapter_id: UUID | None = None


class Wakes(Protocol):
    """Somebody who carries out what was ordered; sooner when told that there is something."""

    def wake(self) -> None: ...


class ForgetsMessages(Protocol):
    """Somebody who keeps text of messages: prompts, samples."""

    async def forget_messages(self, db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID]) -> Forgotten:
        """Remove what was made from messages that were retracted or whose text was edited.

        Called inside the sync's transaction, while the conversation's row is locked.
        """
        ...


class ForgetsConversations(Protocol):
    """Somebody who keeps what came from a conversation, and must know when it goes."""

    async def forget_conversation(self, db: Db, account_id: UUID, conversation_id: UUID) -> list[PendingEvent]:
        """Remove it; called inside the transaction that deletes the conversation, while its row is locked.

        Returns what there is to tell when it is committed.
        """
        ...
