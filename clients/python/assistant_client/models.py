"""The bodies of the gateway's API as Python has them: snake_case here, camelCase on the wire."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

Direction = Literal["incoming", "outgoing"]
MessageType = Literal["text", "attachment", "reaction", "system"]


class Body(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A body of the API. Fields that a newer gateway adds to an answer are ignored."""


class Attachment(Body, frozen=True, kw_only=True):
    """What is known of a file that came with a message."""

    guid: str | None = None
    mime_type: str | None = None
    filename: str | None = None
    byte_size: int | None = None


class SyncedMessage(Body, frozen=True, kw_only=True):
    """A message as the client has it now. `imessage_guid` is what it is known by; send it again after an edit or a retraction."""

    imessage_guid: str
    sender_id: str
    direction: Direction
    message_type: MessageType
    sent_at: datetime
    text: str | None = None
    edited_at: datetime | None = None
    retracted_at: datetime | None = None
    reply_to_guid: str | None = None
    associated_message_guid: str | None = None
    associated_message_type: str | int | None = None
    associated_message_emoji: str | None = None
    attachments: list[Attachment] | None = None


class MessageBatch(Body, frozen=True, kw_only=True):
    """Up to 1,000 messages of one thread, and up to 8 MiB as JSON."""

    conversation_imessage_id: str
    messages: list[SyncedMessage]
    conversation_display_name: str | None = None
    is_group: bool | None = None
    participant_ids: list[str] = []


class MessageId(Body, frozen=True, kw_only=True):
    """`conversation_id` is there if the message lies in another thread than the batch's: the one that it was first synced in."""

    imessage_guid: str
    id: UUID
    conversation_id: UUID | None = None


class SyncedMessages(Body, frozen=True, kw_only=True):
    """What became of a batch; `messages` are in the order sent."""

    conversation_id: UUID
    created: int
    updated: int
    unchanged: int
    messages: list[MessageId]
    learnt_by_adapter_id: UUID | None = None


class ContactCard(Body, frozen=True, kw_only=True):
    """A person of the address book. At least one of `apple_id`, `phone_number` and `email`."""

    apple_id: str | None = None
    phone_number: str | None = None
    email: str | None = None
    display_name: str | None = None
    avatar_hash: str | None = None
