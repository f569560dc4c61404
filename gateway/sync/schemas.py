from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from gateway.wire import NO_NUL, WRITTEN, Wire

MAXIMUM_MESSAGES = 1_000
# Enough for the longest message there is, and little enough that its search index entry fits (PostgreSQL: a tsvector has at most 1 MB).
MAXIMUM_TEXT = 100_000

Direction = Literal["incoming", "outgoing"]
MessageType = Literal["text", "attachment", "reaction", "system"]

Guid = Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_NUL)]
Handle = Annotated[str, Meta(min_length=1, max_length=320, pattern=WRITTEN)]
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339 with a zone; years 1970 to 2199.")]


class Attachment(Wire, frozen=True, kw_only=True, gc=False):
    """What is known of a file that came with a message; the file itself is not synced."""

    guid: Guid | None = None
    mime_type: Annotated[str, Meta(max_length=200, pattern=NO_NUL)] | None = None
    filename: Annotated[str, Meta(max_length=500, pattern=NO_NUL)] | None = None
    byte_size: Annotated[int, Meta(ge=0, le=2**53 - 1)] | None = None


class SyncedMessage(Wire, frozen=True, kw_only=True, gc=False):
    """A message as the client has it now. `imessageGuid` is what it is known by; send it again after an edit or a retraction."""

    imessage_guid: Guid
    sender_id: Annotated[Handle, Meta(description="The sender's handle (telephone number, address), or a contact's id.")]
    direction: Direction
    message_type: MessageType
    text: Annotated[str, Meta(max_length=MAXIMUM_TEXT, pattern=NO_NUL)] | None = None
    sent_at: Time
    edited_at: Time | None = None
    retracted_at: Time | None = None
    reply_to_guid: Guid | None = None
    associated_message_guid: Annotated[Guid, Meta(description="The message that a reaction is about.")] | None = None
    associated_message_type: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=50,
                description="Which reaction: love, like, dislike, laugh, emphasize, question, sticker, an emoji; with a leading `-` it is"
                " taken back. Apple's numbers (2000 to 2007, 3000 to 3007) are understood, as text or as numbers.",
                pattern=NO_NUL,
            ),
        ]
        | Annotated[int, Meta(ge=0, le=9_999)]
        | None
    ) = None
    associated_message_emoji: (
        Annotated[
            str,
            Meta(
                max_length=50,
                description="The emoji of a reaction with one (2006). It is kept as the reaction's type. Left out, it is looked for in"
                " `text`.",
                pattern=NO_NUL,
            ),
        ]
        | None
    ) = None
    attachments: Annotated[list[Attachment], Meta(max_length=100)] | None = None


class MessageBatch(Wire, frozen=True, kw_only=True, gc=False):
    """Some messages of one thread. A display name or group flag that is left out stays as it is known."""

    conversation_imessage_id: Annotated[str, Meta(min_length=1, max_length=500, pattern=NO_NUL)]
    conversation_display_name: Annotated[str, Meta(max_length=500, pattern=NO_NUL)] | None = None
    is_group: bool | None = None
    participant_ids: Annotated[
        list[Handle],
        Meta(
            max_length=MAXIMUM_MESSAGES,
            description="Who is in the thread now; whoever is not listed has left the group. Empty: nothing is said.",
        ),
    ] = []  # noqa: RUF012  # msgspec copies it
    messages: Annotated[list[SyncedMessage], Meta(max_length=MAXIMUM_MESSAGES)]


class MessageId(Wire, frozen=True, kw_only=True, gc=False):
    """`conversationId` is there if the message lies in another thread than the batch's: the one that it was first synced in."""

    imessage_guid: str
    id: UUID
    conversation_id: UUID | UnsetType = UNSET


class SyncedMessages(Wire, frozen=True, kw_only=True, gc=False):
    """What became of a batch; `messages` are in the order sent."""

    conversation_id: UUID
    created: int
    updated: int
    unchanged: int
    messages: list[MessageId]
    learnt_by_adapter_id: UUID | UnsetType = UNSET
    """The adapter that drafts are written with; only there when it learnt from text that this batch took away: deactivate it, or train
    another."""


class ThreadState(Wire, frozen=True, kw_only=True, gc=False):
    conversation_imessage_id: str
    conversation_id: UUID
    message_count: int
    last_message_guid: str | None
    last_sent_at: datetime | None


class SyncState(Wire, frozen=True, kw_only=True):
    """How far each thread is synced, latest first."""

    conversations: list[ThreadState]
