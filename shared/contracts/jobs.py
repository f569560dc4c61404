"""Bodies of the ML service's queued generation: `/generate/async`, `/generate/status/:job_id`, `/generate/cancel/:job_id`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from annotated_types import MaxLen, MinLen

from shared.contracts.generation import GenerateRequest, GenerateResponse
from shared.contracts.names import TraceParent

JobStatus = Literal["queued", "generating", "completed", "failed", "cancelled"]
JobId = Annotated[str, MinLen(1), MaxLen(100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncGenerateRequest(GenerateRequest):
    """What to generate when its turn comes. With a `job_id` of the caller's own, asking twice is asking once: the second time is 409."""

    job_id: JobId | None = None
    publish_tokens: bool = False
    """Put each piece of text on the event stream while it is generated."""
    traceparent: TraceParent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAccepted:
    """The job is on disk in the queue: no crash loses it."""

    job_id: str
    status: JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """How far a job is. `result` is set once it is completed, `error` once it has failed (a sentence for people)."""

    job_id: str
    status: JobStatus
    result: GenerateResponse | None = None
    error: str | None = None
    created_at: datetime
    completed_at: datetime | None = None
