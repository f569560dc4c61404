"""The queue of generations: what is accepted, and what becomes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from ml_service.jobs import scripts
from ml_service.jobs.ledger import Given, Ledger, Limits, NewJob, encode
from ml_service.jobs.scripts import GENERATION
from ml_service.settings import Settings
from shared.contracts.generation import GenerateRequest, GenerateResponse, TokenEvent
from shared.contracts.jobs import AsyncGenerateRequest, JobPriority, JobState
from shared.errors import Conflict, NotFound
from shared.ids import new_id

COSTS: Final[dict[JobPriority, int]] = {"interactive": 1, "background": 10}
"""A turn's price in the fair queue: of two busy flows, the cheap one gets ten turns for one of the dear one's."""

_decode_request = msgspec.json.Decoder(GenerateRequest).decode
_decode_result = msgspec.json.Decoder(GenerateResponse).decode
_decode_error = msgspec.json.Decoder(str).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A generation that a run may work on. `age_seconds` is how long ago it was accepted."""

    job_id: str
    run: str
    request: GenerateRequest
    publish_tokens: bool
    age_seconds: float


class JobQueue(Ledger[Job]):
    """The ledger of queued generations, in Redis.

    Args:
        redis: a client that gives bytes; it is not closed here.
        settings: the limits, see `Settings`.

    Every method raises `QueueAway` when Redis does not do its part.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        keep_ms = settings.job_ttl_seconds * 1000
        limits = Limits(
            waiting=settings.max_queued_jobs,
            waiting_per_flow=settings.max_queued_jobs_per_scope,
            open_ms=int(settings.job_patience_seconds * 1000) + keep_ms,
            keep_ms=keep_ms,
            lease_ms=int(settings.job_lease_seconds * 1000),
        )
        super().__init__(redis, GENERATION, limits)
        self._tokens = self._script(scripts.TOKENS)

    async def enqueue(self, request: AsyncGenerateRequest) -> str:
        """Accept a job: from here on it is finished one day, whatever dies.

        Returns:
            Its id.

        Raises:
            Conflict: the id is known.
            JobQueueFull: too many jobs wait, in all or of this scope.
        """
        job_id = request.job_id or str(new_id())
        job = NewJob(
            job_id=job_id,
            scope=request.scope,
            flow=f"{request.priority}:{request.scope}",
            cost=COSTS[request.priority],
            who=encode({"job_id": job_id, "scope": request.scope})[1:-1],
            request=encode(_bare(request)),
            options=b"tokens" if request.publish_tokens else b"",
        )
        await self._accept(job)
        return job_id

    def _job(self, given: Given) -> Job:
        return Job(
            job_id=given.job_id,
            run=given.run,
            request=_decode_request(given.request),
            publish_tokens=given.options == b"tokens",
            age_seconds=given.age_seconds,
        )

    async def state(self, job_id: str) -> JobState:
        """How far a job is.

        Raises:
            NotFound: no such job, or it was finished too long ago.
        """
        names = ("status", "result", "error", "created", "completed")
        status, result, error, created, completed = await self._call(lambda: self._redis.hmget(self.names.state + job_id, names))
        if status is None:
            raise NotFound("No job with this id")
        return JobState(
            job_id=job_id,
            status=status.decode(),
            result=_decode_result(result) if result is not None else None,
            error=_decode_error(error) if error is not None else None,
            created_at=_moment(created),
            completed_at=_moment(completed) if completed is not None else None,
        )

    async def cancel(self, job_id: str) -> JobState:
        """End a job. One that waits never begins; the worker of one that runs aborts it at its next heartbeat.

        Raises:
            NotFound: no such job.
            Conflict: it is over.
        """
        if not await self._end(job_id, "cancelled"):
            state = await self.state(job_id)
            raise Conflict(f"The job is {state.status} already")
        return await self.state(job_id)

    async def publish(self, job_id: str, run: str, tokens: Sequence[TokenEvent], first: int = 0) -> None:
        """Tell of new text, of which there were `first` pieces before; does nothing if this run does not hold the job."""
        texts = [b',%b,"sequence":%d' % (encode(token)[1:-1], number) for number, token in enumerate(tokens, first)]
        await self._call(lambda: self._tokens(args=[job_id, run, *texts]))

    async def complete(self, job_id: str, result: GenerateResponse) -> bool:
        """Keep the result and tell of it; False if the job was over already, and nothing was done."""
        return await self._end(job_id, "completed", "result", encode(result))


def _bare(request: AsyncGenerateRequest) -> dict[str, Any]:
    """The request as `/generate` takes it."""
    return {field.name: getattr(request, field.name) for field in fields(GenerateRequest)} | {"stream": True}


def _moment(milliseconds: bytes) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
