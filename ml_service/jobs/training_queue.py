"""The queue of trainings: what a training must be to be accepted, and what becomes of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from ml_service.adapters.store import AdapterStore
from ml_service.jobs.queue import Job, JobQueue, QueueSpec, inside
from ml_service.models.catalogue import ModelEntry
from ml_service.settings import Settings
from ml_service.training.spec import Progress
from shared.contracts.training import TrainingRequest, TrainingSample, TrainingState
from shared.errors import BadRequest, Conflict
from shared.redis_events import TRAINING_EVENTS, TRAINING_EVENTS_LENGTH

OPEN_SECONDS: Final = 7 * 86_400
"""A job of which nothing was heard for so long is forgotten."""


class TrainingQueue(JobQueue[TrainingRequest, Progress, TrainingState]):
    """The ledger of trainings. The samples are in it only until the job ends. A job's id is also the id of its adapter."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        """`redis` gives bytes, and is not closed here."""
        spec = QueueSpec(
            name="training",
            running="training",
            stream=TRAINING_EVENTS,
            stream_length=TRAINING_EVENTS_LENGTH,
            whole_states=True,
            max_waiting=settings.max_queued_trainings,
            max_waiting_of_scope=settings.max_queued_trainings_per_scope,
            open_ms=OPEN_SECONDS * 1000,
            keep_ms=settings.job_ttl_seconds * 1000,
            lease_ms=int(settings.job_lease_seconds * 1000),
        )
        super().__init__(redis, spec, TrainingRequest, TrainingState)

    async def report(self, job: Job[TrainingRequest], progress: Progress) -> None:
        """Publish how far a run is; does nothing if this run does not hold the job, or an earlier one was further."""
        await self._call("report", job.job_id, job.lease, progress.status, progress.progress, inside(_details(progress)))

    async def complete(self, job_id: str, result: Progress) -> bool:
        return await self._end(job_id, "completed", {**_details(result), "adapter_id": job_id})


class TrainingRequests:
    """Checks trainings and hands them to the queue; `max_rank` is the highest rank that can be served."""

    def __init__(self, queue: TrainingQueue, store: AdapterStore, catalogue: Mapping[str, ModelEntry], max_rank: int) -> None:
        self._queue = queue
        self._store = store
        self._catalogue = catalogue
        self._max_rank = max_rank

    async def start(self, request: TrainingRequest) -> str:
        """Accept a training; its job's id.

        Raises:
            BadRequest: it could not succeed; the field is named.
            Conflict: the job or its adapter is known.
            Unavailable: Redis or the store is away, or too many jobs wait.
        """
        self._check(request)
        job_id = request.job_id or request.adapter_id
        if job_id is not None and await self._store.find(request.scope, job_id) is not None:
            raise Conflict("An adapter with this id exists already")
        await self._check_baseline(request)
        return await self._queue.enqueue(replace(request, job_id=job_id))

    def _check(self, request: TrainingRequest) -> None:
        if request.adapter_id not in (None, request.job_id) and request.job_id is not None:
            raise BadRequest.field("adapter_id", "is another name for job_id: give one of them, or the same")
        if request.base_model not in self._catalogue:
            raise BadRequest.field("base_model", f"is not in the catalogue; there are {', '.join(self._catalogue)}")
        if request.lora.rank > self._max_rank:
            raise BadRequest.field("lora.rank", f"is above {self._max_rank}, the highest that is served (MAX_LORA_RANK)")
        for number, sample in enumerate(request.samples):
            _check_sample(sample, f"samples[{number}]")
        if not any(_teaches(sample, request) for sample in request.samples):
            kind = "with a rejected_output and" if request.method == "dpo" else "with"
            raise BadRequest.field("samples", f"has no sample {kind} a quality above 0, which is what can be learned from")

    async def _check_baseline(self, request: TrainingRequest) -> None:
        if request.baseline_adapter_id is None:
            return
        baseline = await self._store.find(request.scope, request.baseline_adapter_id)
        if baseline is None:
            raise BadRequest.field("baseline_adapter_id", "there is no such adapter in this scope")
        if baseline.base_model != request.base_model:
            raise BadRequest.field("baseline_adapter_id", "belongs to another base model; leave it out to compare with the base model")


def _details(progress: Progress) -> dict[str, Any]:
    """The ledger has the status by itself."""
    return {name: value for name, value in msgspec.structs.asdict(progress).items() if name != "status"}


def _check_sample(sample: TrainingSample, field: str) -> None:
    if (sample.input is None) == (sample.messages is None):
        raise BadRequest.field(f"{field}.input", "give exactly one of input and messages")
    if sample.messages is not None and sample.messages[-1].role == "assistant":
        raise BadRequest.field(f"{field}.messages", "must end with the turn that the output answers, not with an assistant's")


def _teaches(sample: TrainingSample, request: TrainingRequest) -> bool:
    return sample.quality > 0 and (request.method == "sft" or sample.rejected_output is not None)
