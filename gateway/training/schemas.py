from datetime import datetime
from typing import Literal
from uuid import UUID

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


class SamplePage(Wire, frozen=True, kw_only=True):
    """Samples, newest first; `total` counts all of the account's."""

    samples: list[Sample]
    total: int
    page: int
    page_size: int
