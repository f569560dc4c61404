"""The queue of training jobs: what is accepted, and what becomes of it."""

from dataclasses import dataclass
from typing import Final

import msgspec
from redis.asyncio import Redis

from ml_service.jobs import scripts
from ml_service.jobs.ledger import Given, Ledger, Limits, NewJob, encode
from ml_service.jobs.scripts import TRAINING
from ml_service.settings import Settings
from ml_service.training.spec import Progress, Result
from shared.contracts.training import TrainingRequest, TrainingState
from shared.errors import Conflict, NotFound
from shared.ids import new_id

OPEN_SECONDS: Final = 7 * 86_400
"""A job of which nothing was heard for so long is forgotten."""

_decode_request = msgspec.json.Decoder(TrainingRequest).decode
_decode_state = msgspec.json.Decoder(TrainingState).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """A training that a run may work on. `runs` counts those that began it and whose worker died, and this one."""

    job_id: str
    run: str
    request: TrainingRequest
    age_seconds: float
    runs: int

    @property
    def adapter_id(self) -> str:
        """The id that the new adapter gets."""
        return self.request.adapter_id or self.job_id


class TrainingQueue(Ledger[TrainingJob]):
    """The ledger of training jobs, in Redis. The samples are in it only until the job ends.

    Args:
        redis: a client that gives bytes; it is not closed here.
        settings: the limits, see `Settings`.

    Every method raises `QueueAway` when Redis does not do its part.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        limits = Limits(
            waiting=settings.max_queued_trainings,
            waiting_per_flow=settings.max_queued_trainings_per_scope,
            open_ms=OPEN_SECONDS * 1000,
            keep_ms=settings.job_ttl_seconds * 1000,
            lease_ms=int(settings.job_lease_seconds * 1000),
        )
        super().__init__(redis, TRAINING, limits)
        self._progress = self._script(scripts.PROGRESS)

    async def enqueue(self, request: TrainingRequest) -> str:
        """Accept a job: from here on it is finished one day, whatever dies.

        Returns:
            Its id.

        Raises:
            Conflict: the id is known, or another open job makes an adapter of the same id.
            JobQueueFull: too many jobs wait, in all or of this scope.
        """
        job_id = request.job_id or str(new_id())
        job = NewJob(
            job_id=job_id,
            scope=request.scope,
            flow=request.scope,
            cost=1,
            who=encode({"job_id": job_id})[1:-1],
            request=encode(request),
            claim=f"jobs:training:adapter:{request.scope}:{request.adapter_id or job_id}",
        )
        await self._accept(job)
        return job_id

    def _job(self, given: Given) -> TrainingJob:
        return TrainingJob(
            job_id=given.job_id,
            run=given.run,
            request=_decode_request(given.request),
            age_seconds=given.age_seconds,
            runs=given.runs,
        )

    async def state(self, job_id: str) -> TrainingState:
        """How far a job is.

        Raises:
            NotFound: no such job, or it was finished too long ago.
        """
        state = await self._call(lambda: self._redis.hget(self.names.state + job_id, "state"))
        if state is None:
            raise NotFound("No training job with this id")
        return _decode_state(state)

    async def cancel(self, job_id: str) -> TrainingState:
        """End a job. One that waits never begins; the worker of one that runs ends its process within seconds.

        Raises:
            NotFound: no such job.
            Conflict: it is over.
        """
        if not await self._end(job_id, "cancelled"):
            state = await self.state(job_id)
            raise Conflict(f"The training job is {state.status} already")
        return await self.state(job_id)

    async def report(self, job_id: str, run: str, progress: Progress) -> None:
        """Tell how far a run is; does nothing if this run does not hold the job, or an earlier one was further."""
        details = msgspec.structs.asdict(progress)
        status = details.pop("status")
        await self._call(lambda: self._progress(args=[job_id, run, status, progress.progress, _inside(details), OPEN_SECONDS * 1000]))

    async def complete(self, job_id: str, result: Result, adapter_id: str) -> bool:
        """Keep the figures and tell of them; False if the job was over already, and nothing was done."""
        details = {**msgspec.structs.asdict(result), "progress": 100.0, "adapter_id": adapter_id}
        return await self._end(job_id, "completed", "details", _inside(details))


def _inside(fields: dict[str, object]) -> bytes:
    """Fields as they stand in a JSON object behind others."""
    return b"," + encode(fields)[1:-1]
