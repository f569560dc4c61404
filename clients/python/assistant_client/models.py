"""The bodies of the gateway's API as Python has them: snake_case here, camelCase on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from assistant_client.errors import UnexpectedAnswer

Time = Annotated[datetime, Meta(tz=True)]
"""With a zone: the API takes no other."""

Platform = Literal["macos", "ios", "ipados", "watchos", "windows", "linux", "android", "web"]
DeviceStatus = Literal["pending", "active", "deactivated"]
Direction = Literal["incoming", "outgoing"]
MessageType = Literal["text", "attachment", "reaction", "system"]
ResponseStatus = Literal["queued", "generating", "completed", "failed", "cancelled"]
ActionName = Literal["accept", "edit", "reject"]
FinishReason = Literal["stop", "length"]
SampleSource = Literal["accept", "edit", "reject", "history"]
TrainingMethod = Literal["sft", "dpo"]
TrainingStatus = Literal["queued", "training", "evaluating", "completed", "failed", "cancelled"]
AdapterState = Literal["ready", "set_aside", "missing", "unknown"]


class Body(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A body of the API. Fields that a newer gateway adds to an answer are ignored."""


# Devices


class DeviceRegistration(Body, frozen=True, kw_only=True):
    """What a device says of itself. `hardware_id` is its own; within the account the same one is the same device."""

    name: str
    hardware_id: str
    platform: Platform
    os_version: str


class Pairing(Body, frozen=True, kw_only=True):
    """What to type into the device that is to be paired. The code works once, until `expires_at`."""

    device_id: UUID
    code: str
    expires_at: Time

    def __repr__(self) -> str:
        """Without the code: what is printed or logged lets nobody in."""
        return f"Pairing(device_id={self.device_id}, expires_at={self.expires_at})"


class Device(Body, frozen=True, kw_only=True):
    """A device of the account; `current` is the one that asks."""

    id: UUID
    name: str
    hardware_id: str
    platform: str
    os_version: str
    status: DeviceStatus
    current: bool
    created_at: Time
    verified_at: Time | None
    last_seen_at: Time | None


# Sync


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


# Conversations


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


# Drafts


class GenerateContext(Body, frozen=True, kw_only=True):
    """What a draft is made from, and how."""

    max_history: int = 10
    include_contact_info: bool = True
    temperature: float = 0.7
    max_tokens: int = 256


class Candidate(Body, frozen=True, kw_only=True):
    """One of several drafts; `finish_reason` is `length` when `max_tokens` cut it off."""

    text: str
    confidence: float
    tokens_used: int
    finish_reason: FinishReason


class Draft(Body, frozen=True, kw_only=True):
    """What came of asking for a draft. `response` is its text, null unless `status` is `completed`; `confidence` is 0 to 1."""

    response_id: UUID
    status: ResponseStatus
    response: str | None
    confidence: float | None
    model_version: str | None
    tokens_used: int | None
    conversation_id: UUID
    message_id: UUID
    candidates: list[Candidate] | None
    cached: bool
    created_at: Time


class DraftDetails(Draft, frozen=True, kw_only=True):
    """A draft with what became of it. `error` says why there is no text."""

    completed_at: Time | None
    error: str | None
    action: ActionName | None
    edited_response: str | None
    rejection_reason: str | None
    sample_id: UUID | None


class DraftToken(Body, frozen=True, kw_only=True):
    """A piece of a draft that is being written, of candidate `index`. As an event it says of which draft, and `sequence` counts from 0."""

    index: int
    text: str
    response_id: UUID | None = None
    sequence: int | None = None


class QueuedDraft(Body, frozen=True, kw_only=True):
    """A draft that will be written, whatever breaks down meanwhile."""

    response_id: UUID
    status: Literal["queued"] = "queued"


class DraftPage(Body, frozen=True, kw_only=True):
    """Drafts, newest first."""

    responses: list[DraftDetails]
    total: int
    page: int
    page_size: int


class ActionResult(Body, frozen=True, kw_only=True):
    """`sample_id` is the training sample that was made of it."""

    response_id: UUID
    action: ActionName
    sample_id: UUID


# Samples and trainings


class Turn(Body, frozen=True, kw_only=True):
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sample(Body, frozen=True, kw_only=True):
    """Something to learn from: a prompt, what the owner said (`output`), and what the owner would not have said."""

    id: UUID
    source: SampleSource
    input: str
    messages: list[Turn]
    output: str | None
    rejected_output: str | None
    quality: float
    conversation_id: UUID | None
    response_id: UUID | None
    replied_at: Time
    created_at: Time


class SamplePage(Body, frozen=True, kw_only=True):
    """Samples, newest first."""

    samples: list[Sample]
    total: int
    page: int
    page_size: int


class HistoryImport(Body, frozen=True, kw_only=True):
    """Which of the owner's past replies become samples: the newest `limit`, of all conversations or of one."""

    conversation_id: UUID | None = None
    since: Time | None = None
    limit: int = 1_000
    reply_within_minutes: int = 24 * 60
    max_history: int = 10
    mask_personal_data: bool = True


class SkippedReplies(Body, frozen=True, kw_only=True):
    """How many replies are no samples, by reason."""

    accepted_draft: int = 0
    edited_draft: int = 0
    answers_no_text: int = 0
    links_only: int = 0
    personal_data_only: int = 0
    too_long: int = 0


class ImportedHistory(Body, frozen=True, kw_only=True):
    """What became of the replies: new samples, samples from before, none."""

    imported: int
    known: int
    skipped: SkippedReplies


class TrainingStart(Body, frozen=True, kw_only=True):
    """What to train; without `sample_ids` on all samples that can be learnt from."""

    base_model: str
    epochs: int = 3
    learning_rate: float = 1e-4
    sample_ids: list[UUID] | None = None
    method: TrainingMethod = "sft"


class LossPoint(Body, frozen=True, kw_only=True):
    """The training loss (nats a token of the reply) at a step."""

    step: int
    loss: float


class TrainingJob(Body, frozen=True, kw_only=True):
    """A training and how far it is: `progress` is 0 to 100. Losses are means in nats a token of the reply.

    `activated` says whether the new adapter came into use when the job was completed, and `activation_note` why.
    """

    id: UUID
    status: TrainingStatus
    progress: float
    error: str | None
    method: TrainingMethod
    base_model: str
    device_id: UUID | None
    epochs: int
    learning_rate: float
    sample_count: int
    epoch: float
    step: int
    total_steps: int
    loss: float | None
    eval_loss: float | None
    baseline_eval_loss: float | None
    activated: bool | None
    activation_note: str | None
    adapter_id: UUID | None
    peak_memory_mib: int | None
    history: list[LossPoint]
    created_at: Time
    started_at: Time | None
    completed_at: Time | None

    @property
    def ended(self) -> bool:
        return self.status in {"completed", "failed", "cancelled"}


class TrainingJobPage(Body, frozen=True, kw_only=True):
    """Training jobs, newest first."""

    jobs: list[TrainingJob]
    total: int
    page: int
    page_size: int


class Adapter(Body, frozen=True, kw_only=True):
    """What a training made. `active`: drafts are written with it. `stale`: something that it learnt from has been deleted since."""

    id: UUID
    job_id: UUID
    base_model: str
    created_at: Time
    eval_loss: float
    baseline_eval_loss: float
    active: bool
    stale: bool
    status: AdapterState


# Events


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
