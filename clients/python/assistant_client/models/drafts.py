"""Drafts, and what is done with them."""

from typing import Literal
from uuid import UUID

from assistant_client.models.base import Body, Time

ResponseStatus = Literal["queued", "generating", "completed", "failed", "cancelled"]
ActionName = Literal["accept", "edit", "reject"]
FinishReason = Literal["stop", "length"]


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
