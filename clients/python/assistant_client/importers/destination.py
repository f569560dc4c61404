"""Where an import sends what it read: a `Client`, or what a test has in its place."""

from collections.abc import Sequence
from typing import Protocol

from assistant_client.models import ContactCard, MessageBatch, SyncedContacts, SyncedMessages, SyncState


class Destination(Protocol):
    """The part of a client that an import uses."""

    def sync_messages(self, batch: MessageBatch) -> SyncedMessages: ...

    def sync_contacts(self, cards: Sequence[ContactCard], default_region: str | None = None) -> SyncedContacts: ...

    def sync_state(self) -> SyncState: ...
