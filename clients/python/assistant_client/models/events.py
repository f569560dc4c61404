"""What happens in the account."""

from typing import Any
from uuid import UUID

import msgspec

from assistant_client.errors import UnexpectedAnswer
from assistant_client.models.base import Body, Time
from assistant_client.models.drafts import DraftDetails, DraftToken
from assistant_client.models.learning import TrainingJob


class SyncCompleted(Body, frozen=True, kw_only=True):
    """A batch was stored that changed something."""

    conversation_id: UUID
    created: int
    updated: int
    unchanged: int


class ConversationMerged(Body, frozen=True, kw_only=True):
    """A conversation has become part of another one with the same person."""

    conversation_id: UUID
    former_id: UUID


class AboutDevice(Body, frozen=True, kw_only=True):
    """A device was deactivated, or a refresh token of it was used a second time."""

    device_id: UUID


class Event(Body, frozen=True, kw_only=True):
    """Something that happened in the account. A newer gateway may have types that are not known here."""

    id: str
    type: str
    at: Time
    data: dict[str, Any]

    def body(self) -> Any:
        """`data` as the type has it: a `DraftDetails`, `DraftToken`, `TrainingJob`, `SyncCompleted`, …; the bare dict if none is known."""
        family = self.type.partition(":")[0]
        model = _EVENT_BODIES.get(self.type) or _EVENT_BODIES.get(family)
        try:
            return msgspec.convert(self.data, model) if model else self.data
        except msgspec.MsgspecError as error:
            raise UnexpectedAnswer(f"The event {self.type} is not what this version expects ({error}): update this library") from error


_EVENT_BODIES: dict[str, type[Body]] = {
    "response:token": DraftToken,
    "response": DraftDetails,
    "training": TrainingJob,
    "sync:completed": SyncCompleted,
    "conversation:merged": ConversationMerged,
    "device": AboutDevice,
}
