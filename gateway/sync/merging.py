"""What a copy of a known message changes. Copies come from several devices, late, twice and in any order; all orders end the same.

- The copy with the later `editedAt` says what the message is; one that was never edited is older than any edited one. So a stale copy does
  not bring back what an edit removed.
- Of two copies edited at the same time (or never) the one that came last holds, but what it leaves out stays as it is known.
- A retraction holds against everything: the text is gone for good, whatever comes later.
- A message stays in the conversation that it was first seen in, and keeps its place there if it comes in a batch of another one: nothing
  that was made of it gets lost, and devices that disagree do not move it to and fro. The answer says where it is.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """All that may change of a message."""

    sender_id: str
    direction: str
    message_type: str
    text: str | None
    sent_at: datetime
    edited_at: datetime | None
    retracted_at: datetime | None
    reply_to_guid: str | None
    associated_message_guid: str | None
    associated_message_type: str | None
    attachments: list[dict[str, Any]] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMessage:
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
        merged = _completed(sent, known)
    else:
        merged = known
    retractions = [time for time in (known.retracted_at, sent.retracted_at) if time is not None]
    if retractions:
        merged = replace(merged, retracted_at=min(retractions), text=None, attachments=None)
    return known if merged == known else merged


def text_went(before: Content, after: Content) -> bool:
    """Whether what was made from the old text must go too."""
    return before.text is not None and after.text != before.text


def attachments_json(attachments: list[dict[str, Any]] | None) -> str | None:
    return None if attachments is None else msgspec.json.encode(attachments).decode()


def _completed(sent: Content, known: Content) -> Content:
    """`sent`, with what it leaves out taken from `known`."""
    return replace(
        sent,
        text=sent.text if sent.text is not None else known.text,
        reply_to_guid=sent.reply_to_guid or known.reply_to_guid,
        associated_message_guid=sent.associated_message_guid or known.associated_message_guid,
        associated_message_type=sent.associated_message_type or known.associated_message_type,
        attachments=sent.attachments or known.attachments,
    )
