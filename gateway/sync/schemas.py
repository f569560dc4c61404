from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from gateway.wire import NO_NUL, Wire

MAXIMUM_MESSAGES = 1_000
MAXIMUM_CONTACTS = 1_000
# Enough for the longest message there is, and little enough that its search index entry fits (PostgreSQL: a tsvector has at most 1 MB).
MAXIMUM_TEXT = 100_000
# Documented here, checked in `batch.py` for all strings of a batch at once: a regular expression on each costs as much as storing them.
_STORABLE = {"extra": {"pattern": NO_NUL}}

Direction = Literal["incoming", "outgoing"]
MessageType = Literal["text", "attachment", "reaction", "system"]

Guid = Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema=_STORABLE)]
Handle = Annotated[str, Meta(min_length=1, max_length=320, extra_json_schema=_STORABLE)]
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339 with a zone; years 1970 to 2199.")]


class Attachment(Wire, frozen=True, kw_only=True, gc=False):
    """What is known of a file that came with a message; the file itself is not synced."""

    guid: Guid | None = None
    mime_type: Annotated[str, Meta(max_length=200, extra_json_schema=_STORABLE)] | None = None
    filename: Annotated[str, Meta(max_length=500, extra_json_schema=_STORABLE)] | None = None
    byte_size: Annotated[int, Meta(ge=0, le=2**53 - 1)] | None = None


class SyncedMessage(Wire, frozen=True, kw_only=True, gc=False):
    """A message as the client has it now. `imessageGuid` is what it is known by; send it again after an edit or a retraction."""

    imessage_guid: Guid
    sender_id: Annotated[Handle, Meta(description="The sender's handle (telephone number, address), or a contact's id.")]
    direction: Direction
    message_type: MessageType
    text: Annotated[str, Meta(max_length=MAXIMUM_TEXT, extra_json_schema=_STORABLE)] | None = None
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
                extra_json_schema=_STORABLE,
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
                extra_json_schema=_STORABLE,
            ),
        ]
        | None
    ) = None
    attachments: Annotated[list[Attachment], Meta(max_length=100)] | None = None


class MessageBatch(Wire, frozen=True, kw_only=True, gc=False):
    """Some messages of one thread. A display name or group flag that is left out stays as it is known."""

    conversation_imessage_id: Annotated[str, Meta(min_length=1, max_length=500, extra_json_schema=_STORABLE)]
    conversation_display_name: Annotated[str, Meta(max_length=500, extra_json_schema=_STORABLE)] | None = None
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


Region = Annotated[
    str, Meta(pattern="^[A-Z]{2}$", description="The country (ISO 3166-1) of telephone numbers that are written without a country code.")
]


class ContactCard(Wire, frozen=True, kw_only=True):
    """A person in the owner's address book. At least one of `appleId`, `phoneNumber` and `email`.

    What cannot be kept of a card is left out and told; it refuses neither the card nor the batch (`matching.py`).
    """

    apple_id: Annotated[str, Meta(description="An address, a telephone number, or an id of the client's own.")] | None = None
    phone_number: (
        Annotated[str, Meta(description="Kept as E.164; a short code, or a number whose country nobody says, as its digits.")] | None
    ) = None
    email: Annotated[str, Meta(description="Kept in lower case.")] | None = None
    display_name: str | None = None
    avatar_hash: str | None = None


class ContactBatch(Wire, frozen=True, kw_only=True):
    contacts: Annotated[list[ContactCard], Meta(max_length=MAXIMUM_CONTACTS)]
    default_region: Region | None = None


class Contact(Wire, frozen=True, kw_only=True):
    """A known contact. Its numbers and addresses are the newest that were synced; older ones still mean it."""

    id: UUID
    apple_id: str | None
    phone_number: str | None
    email: str | None
    display_name: Annotated[str, Meta(description="Null of a contact that was never sent with a name.")] | None
    avatar_hash: str | None


class LeftOut(Wire, frozen=True, kw_only=True):
    """Something of a card that was not kept, and why. Without a `field` it is the card itself."""

    field: str | None
    message: str


class ContactResult(Wire, frozen=True, kw_only=True):
    """What became of a card: which contact it is, if it could be kept at all."""

    id: UUID | None
    left_out: list[LeftOut]


class SyncedContacts(Wire, frozen=True, kw_only=True):
    """What became of a batch. `contacts` are those of the cards that were kept, in the order sent; `results` has an entry for
    every card. The counts are of contacts: one that was sent twice counts once.
    """

    created: int
    updated: int
    unchanged: int
    contacts: list[Contact]
    results: list[ContactResult]


class ThreadState(Wire, frozen=True, kw_only=True, gc=False):
    conversation_imessage_id: str
    conversation_id: UUID
    message_count: int
    last_message_guid: str | None
    last_sent_at: datetime | None


class SyncState(Wire, frozen=True, kw_only=True):
    """How far each thread is synced, latest first."""

    conversations: list[ThreadState]
