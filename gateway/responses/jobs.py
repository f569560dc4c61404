"""Queued drafts and the ML service's jobs that write them: a job has its draft's id."""

from dataclasses import dataclass
from uuid import UUID

from msgspec import Struct

from gateway.responses.schemas import Candidate
from shared.contracts.generation import Turn
from shared.contracts.jobs import AsyncGenerateRequest


@dataclass(frozen=True, slots=True)
class JobKey:
    """Whose draft, and which."""

    account_id: UUID
    response_id: UUID


class JobRequest(Struct, frozen=True, kw_only=True):
    """All that is needed to ask for the job, and to ask again, beside the prompt. `turn_sizes`: how many messages each of its turns has."""

    max_tokens: int
    temperature: float
    n: int
    use_cache: bool
    publish_tokens: bool
    turn_sizes: list[int]
    adapter_id: UUID | None = None
    """The adapter that was active when the draft was asked for."""

    def for_service(self, key: JobKey, turns: list[Turn]) -> AsyncGenerateRequest:
        """The request as the ML service takes it."""
        return AsyncGenerateRequest(
            messages=turns,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            n=self.n,
            adapter_id=str(self.adapter_id) if self.adapter_id is not None else None,
            adapter_fallback="base",
            scope=str(key.account_id),
            use_cache=self.use_cache,
            overflow="drop_oldest",
            job_id=str(key.response_id),
            publish_tokens=self.publish_tokens,
        )


class Completion(Struct, frozen=True, kw_only=True):
    """What a job brought to which draft of whom. `drafts` are kept only where several were asked for."""

    whose: UUID
    which: UUID
    draft: str
    drafts: list[Candidate]
    probability: float
    model: str
    tokens: int
    was_cached: bool


class Ending(Struct, frozen=True, kw_only=True):
    """That a job ended without a draft: `how` is its status."""

    whose: UUID
    which: UUID
    how: str
    why: str | None
