"""What a training must be to be accepted: all that can be told before it begins."""

from collections.abc import Mapping

from ml_service.adapters.store import AdapterStore
from ml_service.jobs.training_queue import TrainingQueue
from ml_service.models.catalogue import ModelEntry
from shared.contracts.training import TrainingRequest, TrainingSample
from shared.errors import BadRequest, Conflict


class TrainingRequests:
    """Checks trainings and hands them to the queue.

    Args:
        queue: where they wait.
        store: the adapters that there are.
        catalogue: the base models.
        max_rank: the highest rank that can be served.
    """

    def __init__(self, queue: TrainingQueue, store: AdapterStore, catalogue: Mapping[str, ModelEntry], max_rank: int) -> None:
        self._queue = queue
        self._store = store
        self._catalogue = catalogue
        self._max_rank = max_rank

    async def start(self, request: TrainingRequest) -> str:
        """Accept a training; its job's id.

        Raises:
            BadRequest: it could not succeed; the field is named.
            Conflict: the job or the adapter is known.
            Unavailable: Redis or the store is away, or too many jobs wait.
        """
        self._check(request)
        await self._check_adapters(request)
        return await self._queue.enqueue(request)

    def _check(self, request: TrainingRequest) -> None:
        if request.base_model not in self._catalogue:
            raise BadRequest.field("base_model", f"is not in the catalogue; there are {', '.join(self._catalogue)}")
        if request.lora.rank > self._max_rank:
            raise BadRequest.field("lora.rank", f"is above {self._max_rank}, the highest that is served (MAX_LORA_RANK)")
        for number, sample in enumerate(request.samples):
            _check_sample(sample, f"samples[{number}]")
        if not any(_teaches(sample, request) for sample in request.samples):
            kind = "with a rejected_output and" if request.method == "dpo" else "with"
            raise BadRequest.field("samples", f"has no sample {kind} a quality above 0, which is what can be learned from")

    async def _check_adapters(self, request: TrainingRequest) -> None:
        adapter_id = request.adapter_id or request.job_id
        if adapter_id is not None and await self._store.find(request.scope, adapter_id) is not None:
            raise Conflict("An adapter with this id exists already")
        if request.baseline_adapter_id is None:
            return
        baseline = await self._store.find(request.scope, request.baseline_adapter_id)
        if baseline is None:
            raise BadRequest.field("baseline_adapter_id", "there is no such adapter in this scope")
        if baseline.manifest.base_model != request.base_model:
            raise BadRequest.field("baseline_adapter_id", "belongs to another base model; leave it out to compare with the base model")


def _check_sample(sample: TrainingSample, field: str) -> None:
    if (sample.input is None) == (sample.messages is None):
        raise BadRequest.field(f"{field}.input", "give exactly one of input and messages")
    if sample.messages is not None and sample.messages[-1].role == "assistant":
        raise BadRequest.field(f"{field}.messages", "must end with the turn that the output answers, not with an assistant's")


def _teaches(sample: TrainingSample, request: TrainingRequest) -> bool:
    return sample.quality > 0 and (request.method == "sft" or sample.rejected_output is not None)
