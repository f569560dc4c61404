"""`/health` says whether the service can generate, `/health/live` that the process runs, `/metrics` everything else."""

from collections.abc import Sequence

import msgspec
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from ml_service.adapters.registry import AdapterRegistry
from ml_service.cache.response_cache import ResponseCache
from ml_service.engine.fair_queue import FairQueue
from ml_service.engine.supervisor import EngineSupervisor
from ml_service.jobs.metrics import JobMetrics
from ml_service.metrics import Metrics
from shared.contracts.service import Health, HealthStatus


def health_routes(
    supervisor: EngineSupervisor,
    engine_queue: FairQueue,
    adapters: AdapterRegistry,
    cache: ResponseCache,
    metrics: Metrics,
    jobs: Sequence[JobMetrics],
    version: str,
) -> APIRouter:
    """The queue that health speaks of is the first one of `jobs`."""
    router = APIRouter(tags=["health"])

    @router.get("/health", response_model=Health, responses={503: {"model": Health, "description": "It cannot generate."}})
    async def health() -> Response:
        """Whether the service can generate: 200 while it can, else 503."""
        redis_connected = await cache.connected()
        state = supervisor.state
        queued = await jobs[0].waiting() if redis_connected else 0
        can_generate = state == "ready"
        status: HealthStatus = "unhealthy"
        if can_generate:
            status = "healthy" if redis_connected else "degraded"
        elif state in ("loading", "reloading", "sleeping"):
            status = "loading"
        body = Health(
            status=status,
            model_loaded=can_generate,
            model_version=supervisor.entry.name,
            redis_connected=redis_connected,
            queue_length=engine_queue.waiting + queued,
            engine=state,
            admission=engine_queue.share,
            adapters_loaded=len(adapters.loaded(supervisor.engine)),
            version=version,
        )
        return Response(msgspec.json.encode(body), status_code=200 if can_generate else 503, media_type="application/json")

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        """Whether the process runs; it says nothing about the model."""
        return {"status": "alive"}

    @router.get("/metrics", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        """Metrics of vLLM and of this service, in Prometheus' text format."""
        for each in jobs:
            await each.refresh()
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
