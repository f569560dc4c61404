"""What was made from messages: it must go when a message's text goes, and move when the message does."""

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


class MadeFromMessages(Protocol):
    """Drafts and samples: they hold text of messages. Each call is made inside the transaction that changes the messages, while the rows
    of their conversations are locked.
    """

    async def forget_messages(self, db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID]) -> Forgotten:
        """Remove what was made from messages that were retracted or whose text was edited."""
        ...

    async def forget_conversation(self, db: Db, account_id: UUID, conversation_id: UUID) -> list[PendingEvent]:
        """Remove what came from a conversation that is being deleted; returns what there is to tell when it is committed."""
        ...

    async def conversation_merged(self, db: Db, account_id: UUID, gone: UUID, into: UUID) -> None:
        """Move what came from a conversation to the one that it becomes part of."""
        ...
