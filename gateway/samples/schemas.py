"""Public bodies of samples, and what a training reads."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from gateway.conversations.prompt import DRAFT_HISTORY
from gateway.wire import Wire
from shared.contracts.generation import Turn

SampleSource = Literal["accept", "edit", "reject", "history"]


class Sample(Wire, frozen=True, kw_only=True):
    """Something to learn from.

    `messages` is the prompt exactly as the model saw it, `input` the text in it that was answered. `output` is what the owner would
    have said (null: not known), `rejectedOutput` what the owner would not have said. `quality` 0 is never taught. `repliedAt` is when the
    output was said: sent or, of a draft, chosen.
    """

    id: UUID
    source: SampleSource
    input: str
    messages: list[Turn]
    output: str | None
    rejected_output: str | None
    quality: float
    conversation_id: UUID | None
    response_id: UUID | None
    replied_at: datetime
    created_at: datetime


class TaughtSample(Struct, frozen=True, kw_only=True):
    """A sample that a training may learn from. `rejected_output` is of this sample, or of the one `rejected_id`; none where the output
    alone is learnt.
    """

    id: UUID
    source: SampleSource
    conversation_id: UUID | None
    messages: list[Turn]
    output: str
    quality: float
    replied_at: datetime
    rejected_id: UUID | None = None
    rejected_output: str | None = None


class SamplePage(Wire, frozen=True, kw_only=True):
    """Samples, newest first; `total` counts all of the account's, or all of the `source` that was asked for."""

    samples: list[Sample]
    total: int
    page: int
    page_size: int


Since = Annotated[datetime, Meta(tz=True, description="Only replies sent from then on: RFC 3339 with a zone; years 1970 to 2199.")]


class HistoryImport(Wire, frozen=True, kw_only=True):
    """Which of the owner's past replies to look at: the newest `limit`, of all conversations or of one."""

    conversation_id: UUID | None = None
    since: Since | None = None
    limit: Annotated[int, Meta(ge=1, le=10_000, description="How many replies to look at, newest first.")] = 1_000
    reply_within_minutes: Annotated[
        int, Meta(ge=1, le=10_080, description="What is sent later than this after a message does not count as a reply to it.")
    ] = 24 * 60
    max_history: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="How many messages each sample's prompt has. Trainings learn each reply with histories of any length up to what"
            " samples of one thread show together, down to none. With 1 only the voice by itself is learnt.",
        ),
    ] = DRAFT_HISTORY
    mask_personal_data: Annotated[
        bool,
        Meta(description="Whether telephone numbers, e-mail addresses, cards, IBANs and codes become `[phone]` and the like."),
    ] = True
    preview: Annotated[bool, Meta(description="Only say what would be imported and what not; nothing is stored.")] = False


class SkippedReplies(Wire, frozen=True, kw_only=True):
    """How many replies are no samples, by reason."""

    accepted_draft: Annotated[int, Meta(description="It is a draft of ours that was accepted.")] = 0
    edited_draft: Annotated[int, Meta(description="It was written in place of a draft, and was a sample from then on.")] = 0
    answers_no_text: Annotated[int, Meta(description="It answers a picture or another file without words.")] = 0
    links_only: int = 0
    personal_data_only: int = 0
    too_long: Annotated[int, Meta(description="It, or a message before it, has more than 4,000 characters.")] = 0


class SampleExample(Wire, frozen=True, kw_only=True):
    """What a sample would show: the text that was answered, and the reply as it would be learnt."""

    input: str
    output: str


class ImportedHistory(Wire, frozen=True, kw_only=True):
    """What became of the replies, or in a preview would: new samples, samples from before, none. A preview has a few of the new ones."""

    imported: int
    known: int
    skipped: SkippedReplies
    examples: list[SampleExample]
