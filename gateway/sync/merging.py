"""What a copy of a known message changes. Copies come from several devices, late, twice and in any order; all orders end the same.

- The copy with the later `editedAt` says what the message is; one that was never edited is older than any edited one. So a stale copy does
  not bring back what an edit removed.
- Of two copies edited at the same time (or never) the one that came last holds, but what it leaves out stays as it is known.
- A retraction holds against everything: the text is gone for good, whatever comes later.
- A message stays in the conversation that it was first seen in, and keeps its place there if it comes in a batch of another one: nothing
  that was made of it gets lost, and devices that disagree do not move it to and fro. The answer says where it is.
"""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.sync.schemas import Attachment, Direction, MessageType

_NEVER = datetime.min.replace(tzinfo=UTC)


class Content(Struct, frozen=True, kw_only=True, gc=False):
    """All that may change of a message, under the names of its columns: what is stored and read is made of this list (`queries.py`)."""

    sender_id: str
    direction: Direction
    message_type: MessageType
    text: str | None
    sent_at: datetime
    edited_at: datetime | None
    retracted_at: datetime | None
    reply_to_guid: str | None
    associated_message_guid: str | None
    associated_message_type: str | None
    attachments: list[Attachment] | None

    @property
    def size(self) -> int:
        """Bytes of what can change in size."""
        return len((self.text or "").encode()) + (len(msgspec.json.encode(self.attachments)) if self.attachments else 0)


class KnownMessage(Struct, frozen=True, kw_only=True, gc=False):
    """A stored message."""

    id: UUID
    conversation_id: UUID
    content: Content


def merge(known: Content, sent: Content) -> Content:
    """The message after a copy of it came in; `known` itself when that changes nothing."""
    known_version, sent_version = known.edited_at or _NEVER, sent.edited_at or _NEVER
    if sent_version > known_version:
        merged = sent
    elif sent_version == known_version:
        left_out = [name for name in Content.__struct_fields__ if getattr(sent, name) is None]
        merged = replace(sent, **{name: getattr(known, name) for name in left_out})
    else:
        merged = known
    retractions = [time for time in (known.retracted_at, sent.retracted_at) if time is not None]
    if retractions:
        merged = replace(merged, retracted_at=min(retractions), text=None, attachments=None)
    return known if merged == known else merged


def text_went(before: Content, after: Content) -> bool:
    """Whether what was made from the old text must go too."""
    return before.text is not None and after.text != before.text
