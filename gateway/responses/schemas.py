"""Public bodies of the response endpoints."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from gateway.conversations.prompt import DRAFT_HISTORY
from gateway.wire import NO_NUL, Wire
from shared.contracts.generation import FinishReason

ResponseStatus = Literal["queued", "generating", "completed", "failed", "cancelled"]
ActionName = Literal["accept", "edit", "reject"]

CandidateNumber = Annotated[int, Meta(ge=0, le=3, description="Which of the candidates is meant, from 0, if several were asked for.")]


class GenerateContext(Wire, frozen=True, kw_only=True):
    """What the draft is made from, and how."""

    max_history: Annotated[int, Meta(ge=1, le=100, description="How many of the thread's last messages the model reads.")] = DRAFT_HISTORY
    include_contact_info: Annotated[bool, Meta(description="Whether the model is told the names of the people in the thread.")] = True
    temperature: Annotated[float, Meta(ge=0, le=2, description="How freely words are chosen; 0 always takes the likeliest.")] = 0.7
    max_tokens: Annotated[int, Meta(ge=1, le=2048, description="The longest draft, in tokens.")] = 256


class GenerateBody(Wire, frozen=True, kw_only=True):
    message_id: Annotated[UUID, Meta(description="The incoming message to answer.")]
    context: GenerateContext | None = None
    n: Annotated[int, Meta(ge=1, le=4, description="How many drafts to write.")] = 1


class Candidate(Wire, frozen=True, kw_only=True):
    """One of several drafts; `finishReason` is `length` when `maxTokens` cut it off."""

    text: str
    confidence: float
    tokens_used: int
    finish_reason: FinishReason


class Draft(Wire, frozen=True, kw_only=True):
    """What came of asking for a draft. `response` is null unless `status` is `completed`.

    `confidence` is the mean probability of the generated tokens, 0 to 1; `tokensUsed` counts them over all candidates. `candidates` are
    there when more than one draft was asked for; the first of them is `response`. `cached`: the same prompt was answered before.
    """

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
    created_at: datetime


class QueuedDraft(Wire, frozen=True, kw_only=True):
    """A draft that was accepted: it will be written, whatever breaks down meanwhile."""

    response_id: UUID
    status: Literal["queued"] = "queued"


class DraftDetails(Draft, frozen=True, kw_only=True):
    """A draft with what became of it. `error` says why there is no text."""

    completed_at: datetime | None
    error: str | None
    action: ActionName | None
    edited_response: str | None
    rejection_reason: str | None
    sample_id: UUID | None


class DraftPage(Wire, frozen=True, kw_only=True):
    """Drafts, newest first; `total` counts all that the filters let through."""

    responses: list[DraftDetails]
    total: int
    page: int
    page_size: int


class Accept(Wire, frozen=True, kw_only=True, tag_field="action", tag="accept"):
    """The draft is what the owner would have said."""

    candidate: CandidateNumber = 0


class Edit(Wire, frozen=True, kw_only=True, tag_field="action", tag="edit"):
    """The draft was changed into what the owner would have said."""

    edited_response: Annotated[str, Meta(min_length=1, max_length=20_000, pattern=NO_NUL, description="Something has to show.")]
    candidate: CandidateNumber = 0


class Reject(Wire, frozen=True, kw_only=True, tag_field="action", tag="reject"):
    """The draft is nothing that the owner would say."""

    rejection_reason: Annotated[str, Meta(max_length=2_000, pattern=NO_NUL)] | None = None
    candidate: CandidateNumber = 0


Action = Accept | Edit | Reject


class ActionResult(Wire, frozen=True, kw_only=True):
    """`sampleId` is the training sample that was made of it."""

    response_id: UUID
    action: ActionName
    sample_id: UUID
