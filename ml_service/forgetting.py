"""What was deleted elsewhere is deleted here: cached answers, jobs, trainings, adapters, and the traces that Redis keeps on disk."""

from typing import Final

from ml_service.adapters.registry import AdapterRegistry
from ml_service.cache.response_cache import ResponseCache
from ml_service.jobs.generation_queue import GenerationQueue
from ml_service.jobs.training_queue import TrainingQueue
from ml_service.redis_log import RedisLog
from shared.contracts.service import ForgetRequest, Forgotten

MOST_ROUNDS: Final = 50
"""One call ends and forgets so many times two hundred jobs at most."""


class Forgetting:
    """Carries out what a `ForgetRequest` asks for. Each step may be made again: nothing is done twice."""

    def __init__(
        self, cache: ResponseCache, jobs: GenerationQueue, trainings: TrainingQueue, adapters: AdapterRegistry, log: RedisLog
    ) -> None:
        self._cache = cache
        self._jobs = jobs
        self._trainings = trainings
        self._adapters = adapters
        self._log = log

    async def forget(self, request: ForgetRequest) -> Forgotten:
        """Forget; jobs go first: one that runs would bring another answer, or another adapter.

        Raises:
            Unavailable: Redis or the adapters' store is away; what was done stays done.
        """
        complete = await (self._everything(request.scope) if request.extent == "everything" else self._these(request))
        await self._cache.forget(request.scope)
        self._log.rewrite_soon()
        return Forgotten(complete=complete)

    async def _everything(self, scope: str) -> bool:
        for _ in range(MOST_ROUNDS):
            if await self._jobs.forget(scope) + await self._trainings.forget(scope) == 0:
                await self._adapters.delete_scope(scope)
                return True
        return False

    async def _these(self, request: ForgetRequest) -> bool:
        scope = request.scope
        await self._jobs.forget_these(scope, request.job_ids, end_open=True)
        await self._trainings.forget_these(scope, request.adapter_ids, end_open=True)
        for adapter_id in request.adapter_ids:
            await self._adapters.delete(scope, adapter_id)
        return await self._trainings.forget_these(scope, request.training_ids, end_open=False) == 0
