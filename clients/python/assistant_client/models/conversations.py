"""Threads and messages, as they are read."""

from uuid import UUID

from assistant_client.models.base import Body, Time
from assistant_client.models.sync import Attachment, Direction, MessageType


class Participant(Body, frozen=True, kw_only=True):
    """Somebody who is in a thread."""

    id: UUID
    display_name: str
    contact_id: UUID | None


class Conversation(Body, frozen=True, kw_only=True):
    """A thread; `imessage_ids` are all identifiers of chats with the same person."""

    id: UUID
    imessage_id: str
    imessage_ids: list[str]
    display_name: str | None
    is_group: bool
    participants: list[Participant]
    message_count: int
    last_message_at: Time | None
    last_message_preview: str | None


class ConversationPage(Body, frozen=True, kw_only=True):
    """Threads, latest first; `total` counts all."""

    conversations: list[Conversation]
    total: int
    page: int
    page_size: int


class Reaction(Body, frozen=True, kw_only=True):
    """A reaction that stands."""

    type: str
    direction: Direction
    sender_id: str
    sender_name: str | None
    sent_at: Time


class Message(Body, frozen=True, kw_only=True):
    """A message; a retracted one has neither text nor attachments."""

    id: UUID
    imessage_guid: str
    sender_id: str
    sender_name: str | None
    direction: Direction
    message_type: MessageType
    text: str | None
    sent_at: Time
    edited_at: Time | None
    retracted_at: Time | None
    reply_to_guid: str | None
    associated_message_guid: str | None
    associated_message_type: str | None
    reactions: list[Reaction]
    attachments: list[Attachment]


class MessagePage(Body, frozen=True, kw_only=True):
    """Newest first. `page` is null on a page that was asked for by cursor, `next_cursor` on the last page."""

    messages: list[Message]
    total: int
    page: int | None
    page_size: int
    next_cursor: str | None


class FoundMessage(Message, frozen=True, kw_only=True):
    """A message and the thread it is in."""

    conversation_id: UUID


class FoundPage(Body, frozen=True, kw_only=True):
    """Messages that a search found, newest first."""

    messages: list[FoundMessage]
    total: int
    page: int
    page_size: int
