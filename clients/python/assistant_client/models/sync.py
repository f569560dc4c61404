"""What is synced: messages and contacts."""

from typing import Literal
from uuid import UUID

from assistant_client.models.base import Body, Time

Direction = Literal["incoming", "outgoing"]
MessageType = Literal["text", "attachment", "reaction", "system"]


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
    sent_at: Time
    text: str | None = None
    edited_at: Time | None = None
    retracted_at: Time | None = None
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
    participant_ids: list[str] = []  # noqa: RUF012  # msgspec copies it


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


class Contact(Body, frozen=True, kw_only=True):
    """A known contact."""

    id: UUID
    apple_id: str | None
    phone_number: str | None
    email: str | None
    display_name: str | None
    avatar_hash: str | None


class LeftOut(Body, frozen=True, kw_only=True):
    """Something of a card that was not kept, and why. Without a `field` it is the card itself."""

    field: str | None
    message: str


class ContactResult(Body, frozen=True, kw_only=True):
    """What became of a card: which contact it is, if it could be kept at all."""

    id: UUID | None
    left_out: list[LeftOut]


class SyncedContacts(Body, frozen=True, kw_only=True):
    """What became of a batch: `contacts` are those that were kept, `results` has an entry for every card, in the order sent."""

    created: int
    updated: int
    unchanged: int
    contacts: list[Contact]
    results: list[ContactResult]


class ThreadState(Body, frozen=True, kw_only=True):
    """Where a thread stands, by one of its identifiers."""

    conversation_imessage_id: str
    conversation_id: UUID
    message_count: int
    last_message_guid: str | None
    last_sent_at: Time | None


class SyncState(Body, frozen=True, kw_only=True):
    """How far each thread is synced, latest first."""

    conversations: list[ThreadState]
