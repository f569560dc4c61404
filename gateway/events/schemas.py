"""What clients of the event endpoints see."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from gateway.wire import Wire

EventType = Literal[
    "response:generating",
    "response:token",
    "response:completed",
    "response:failed",
    "response:cancelled",
    "training:progress",
    "training:completed",
    "training:failed",
    "training:cancelled",
    "sync:completed",
    "conversation:merged",
    "device:deactivated",
    "device:token_reused",
    "replay:incomplete",
    "stream:closed",
]

Id = Annotated[str, Meta(description="Where the reader is then: send it as `Last-Event-ID` or `after` to go on from here.")]


class Event(Wire, frozen=True, kw_only=True):
    """One event as it goes out.

    `data` of `response:*` is the draft as `GET /api/responses/:id` has it; of `response:token` `{responseId, index, sequence, text}`; of
    `training:*` the job; of `sync:completed` `{conversationId, created, updated, unchanged}`; of `conversation:merged`
    `{conversationId, formerId}`; of `device:*` `{deviceId}`.

    `replay:incomplete` says that what came after the given id is not known any more: look again at what matters. `stream:closed` is the
    last event of a server-sent stream that the gateway ends, with a WebSocket's close `{code, reason}`.
    """

    id: Id
    type: EventType
    at: datetime
    data: dict[str, Any]


class DraftToken(Wire, frozen=True, kw_only=True):
    """A piece of a draft that is being written, of candidate `index`. `sequence` counts a draft's pieces from 0: who misses one waits for
    `response:completed`.
    """

    response_id: UUID
    index: int
    sequence: int
    text: str


class SyncCompleted(Wire, frozen=True, kw_only=True):
    """A batch was stored that changed something."""

    conversation_id: UUID
    created: int
    updated: int
    unchanged: int


class ConversationMerged(Wire, frozen=True, kw_only=True):
    """A conversation has become part of another one with the same person. Its messages, drafts and samples are there now."""

    conversation_id: UUID
    former_id: UUID


class AboutDevice(Wire, frozen=True, kw_only=True):
    """A device was deactivated; or a refresh token of it was used a second time: somebody has a copy, and all of its tokens are void."""

    device_id: UUID


class StreamClosed(Wire, frozen=True, kw_only=True):
    code: int
    reason: str


class Nothing(Wire, frozen=True, kw_only=True):
    """`data` of an event that has none."""
