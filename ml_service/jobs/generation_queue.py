"""The queue of generations."""

from collections.abc import Sequence

from redis.asyncio import Redis

from ml_service.jobs.queue import Job, JobQueue, QueueSpec, encode
from ml_service.settings import Settings
from shared.contracts.generation import GenerateResponse, TokenEvent
from shared.contracts.jobs import AsyncGenerateRequest, JobState
from shared.redis_events import JOB_EVENTS, JOB_EVENTS_LENGTH, JobEvent


class GenerationQueue(JobQueue[AsyncGenerateRequest, GenerateResponse, JobState]):
    """The ledger of queued generations."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        """`redis` gives bytes, and is not closed here."""
        keep_ms = settings.job_ttl_seconds * 1000
        spec = QueueSpec(
            name="generation",
            running="generating",
            stream=JOB_EVENTS,
            stream_length=JOB_EVENTS_LENGTH,
            whole_states=False,
            max_waiting=settings.max_queued_jobs,
            max_waiting_of_scope=settings.max_queued_jobs_per_scope,
            open_ms=int(settings.job_patience_seconds * 1000) + keep_ms,
            keep_ms=keep_ms,
            lease_ms=int(settings.job_lease_seconds * 1000),
        )
        super().__init__(redis, spec, AsyncGenerateRequest, JobState)

    async def complete(self, job_id: str, result: GenerateResponse) -> bool:
        return await self._end(job_id, "completed", {"result": result})

    async def publish(self, job: Job[AsyncGenerateRequest], tokens: Sequence[TokenEvent], first: int = 0) -> None:
        """Publish new text, of which there were `first` pieces before; does nothing if this run does not hold the job."""
        events = [
            JobEvent(type="token", job_id=job.job_id, scope=job.request.scope, text=token.text, index=token.index, sequence=number)
            for number, token in enumerate(tokens, first)
        ]
        await self._call("publish", job.job_id, job.lease, *map(encode, events))
