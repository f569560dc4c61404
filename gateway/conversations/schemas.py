from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from gateway.sync.schemas import Attachment, Direction, MessageType
from gateway.wire import Wire


class Participant(Wire, frozen=True, kw_only=True):
    """Somebody who is in a thread. `displayName` is the contact's name, or the handle of who is no contact."""

    id: UUID
    display_name: str
    contact_id: UUID | None


class Conversation(Wire, frozen=True, kw_only=True):
    """A thread. One that has no name of its own shows the names of who is in it."""

    id: UUID
    imessage_id: str
    imessage_ids: Annotated[list[str], Meta(description="All identifiers of chats with the same person.")]
    display_name: str | None
    is_group: bool
    participants: list[Participant]
    message_count: int
    last_message_at: datetime | None
    last_message_preview: str | None


class ConversationPage(Wire, frozen=True, kw_only=True):
    conversations: list[Conversation]
    total: int
    page: int
    page_size: int


class Reaction(Wire, frozen=True, kw_only=True):
    """A reaction that stands: each sender has at most one on a message, the latest."""

    type: str
    direction: Direction
    sender_id: str
    sender_name: str | None
    sent_at: datetime


class Message(Wire, frozen=True, kw_only=True):
    """A message. `senderName` is the contact's name, for incoming ones; a retracted message has neither text nor attachments.

    A reaction is shown on the message that it is about, and is a message of its own too, so that pages and totals leave nothing out.
    """

    id: UUID
    imessage_guid: str
    sender_id: str
    sender_name: str | None
    direction: Direction
    message_type: MessageType
    text: str | None
    sent_at: datetime
    edited_at: datetime | None
    retracted_at: datetime | None
    reply_to_guid: str | None
    associated_message_guid: str | None
    associated_message_type: str | None
    reactions: list[Reaction]
    attachments: list[Attachment]


class MessagePage(Wire, frozen=True, kw_only=True):
    """Newest first. `page` is null on a page that was asked for by cursor; `nextCursor` is null on the last page."""

    messages: list[Message]
    total: int
    page: int | None
    page_size: int
    next_cursor: str | None


class FoundMessage(Message, frozen=True, kw_only=True):
    """A message and the thread it is in."""

    conversation_id: UUID


class FoundPage(Wire, frozen=True, kw_only=True):
    messages: list[FoundMessage]
    total: int
    page: int
    page_size: int
