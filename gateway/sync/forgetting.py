"""What else must go when a message's text goes: whatever was made from it."""

import asyncio
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import structlog

from gateway.database import Db
from gateway.errors import AppError
from gateway.events.publisher import PendingEvent
from gateway.ml_client import MlClient

_logger = structlog.get_logger(__name__)


class ForgetsMessages(Protocol):
    """Somebody who keeps text of messages: prompts, samples."""

    async def forget_messages(self, db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID]) -> list[PendingEvent]:
        """Remove what was made from messages that were retracted or whose text was edited.

        Called inside the sync's transaction, while the conversation's row is locked. Returns what there is to tell when it is committed.
        """
        ...


class ForgetsConversations(Protocol):
    """Somebody who keeps what came from a conversation, and must know when it goes."""

    async def forget_conversation(self, db: Db, account_id: UUID, conversation_id: UUID) -> None:
        """Remove it; called inside the transaction that deletes the conversation, while its row is locked."""
        ...


class CachedDrafts:
    """The drafts that the ML service keeps: dropped in the background, because an answer need not wait for that."""

    def __init__(self, ml: MlClient) -> None:
        self._ml = ml
        self._running: set[asyncio.Task[None]] = set()

    def drop(self, account_id: UUID) -> None:
        """Start dropping an account's cached drafts. If the ML service is away they go when they expire."""
        task = asyncio.create_task(self._drop(account_id))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Wait a moment for what still runs."""
        if self._running:
            await asyncio.wait(self._running, timeout=2)

    async def _drop(self, account_id: UUID) -> None:
        try:
            await self._ml.clear_cache(account_id)
        except AppError as error:
            _logger.warning("cached drafts not dropped", account_id=str(account_id), error=type(error).__name__)
