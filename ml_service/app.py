"""The whole service on one page."""

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fastapi import FastAPI
from redis.asyncio import Redis

from ml_service import errors
from ml_service.adapters.registry import AdapterRegistry
from ml_service.adapters.store import AdapterStore
from ml_service.api.adapters import adapter_routes
from ml_service.api.cache import cache_routes
from ml_service.api.documentation import document
from ml_service.api.forget import forget_routes
from ml_service.api.generation import generation_routes
from ml_service.api.health import health_routes
from ml_service.api.jobs import job_routes
from ml_service.api.model import OpenAiApi, model_routes
from ml_service.api.training import training_routes
from ml_service.cache.response_cache import ResponseCache
from ml_service.engine.factory import default_engine_factory
from ml_service.engine.fair_queue import FairQueue
from ml_service.engine.protocol import EngineFactory
from ml_service.engine.supervisor import EngineSupervisor
from ml_service.forgetting import Forgetting
from ml_service.generation import GenerationService, most_prompt_tokens
from ml_service.jobs.generation_queue import GenerationQueue
from ml_service.jobs.metrics import JobMetrics
from ml_service.jobs.queue import connection_pool
from ml_service.jobs.training_queue import TrainingQueue, TrainingRequests
from ml_service.metrics import Metrics
from ml_service.middleware import MAX_SAMPLES_BYTES, QUIET_PATHS, BodyLimit, ServiceToken
from ml_service.models.catalogue import CatalogueError, default_model, load_catalogue
from ml_service.redis_log import RedisLog
from ml_service.settings import Settings
from shared.asgi import RequestContext
from shared.background import Background
from shared.host_guard import AllowedHosts, HostGuard

REDIS_TIMEOUT_SECONDS: Final = 1.0
"""How long Redis may keep a request waiting; longer than loading a model holds up the event loop, which would look as if it were away."""
SAMPLES_TIMEOUT_SECONDS: Final = 10.0
"""The same where many megabytes go to it."""


def create_app(settings: Settings, engine_factory: EngineFactory | None = None) -> FastAPI:
    """Put the service together; nothing is opened before its lifespan begins. The engine is by default what the settings ask for.

    Raises:
        CatalogueError: the catalogue, or the model asked for, cannot be used.
    """
    catalogue = load_catalogue(Path(settings.model_catalogue) if settings.model_catalogue else None)
    name = settings.model_id or default_model()
    if name not in catalogue:
        raise CatalogueError(f"MODEL_ID is {name}, which is not in the catalogue: {', '.join(catalogue)}")
    version = _version()
    metrics = Metrics()
    engine_queue = FairQueue(settings.max_num_seqs, settings.max_queued_requests, settings.engine_rebuild_window_seconds)

    def rebuilt(reason: str) -> None:
        metrics.rebuilds.labels(reason).inc()
        engine_queue.engine_replaced()

    supervisor = EngineSupervisor(engine_factory or default_engine_factory(settings), catalogue[name], settings, rebuilt)
    metrics.observe_engine(supervisor, engine_queue)
    redis = Redis(connection_pool=connection_pool(settings.redis_url, REDIS_TIMEOUT_SECONDS))
    cache = ResponseCache(redis, settings.cache_ttl_seconds)
    store = AdapterStore.open(settings, catalogue)
    adapters = AdapterRegistry(store, capacity=settings.max_loaded_adapters, check_seconds=settings.adapter_check_seconds, metrics=metrics)
    metrics.observe_adapters(lambda: len(adapters.loaded(supervisor.engine)))
    generation = GenerationService(supervisor, cache, metrics, adapters, engine_queue, most_prompt_tokens(settings))
    queue = GenerationQueue(redis, settings)
    job_metrics = JobMetrics(queue)
    training_redis = Redis(connection_pool=connection_pool(settings.redis_url, SAMPLES_TIMEOUT_SECONDS))
    training_queue = TrainingQueue(training_redis, settings)
    trainings = TrainingRequests(training_queue, store, catalogue, settings.max_lora_rank)
    redis_log = RedisLog(redis, settings.redis_rewrite_seconds)
    forgetting = Forgetting(cache, queue, training_queue, adapters, redis_log)
    training_metrics = JobMetrics(training_queue, "ml_training_job", "Training jobs")
    metrics.add(job_metrics)
    metrics.add(training_metrics)
    background: list[Background] = [redis_log, adapters]

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as closing:  # last first, and each whatever becomes of the others
            for client in (redis, training_redis):
                closing.push_async_callback(client.aclose, close_connection_pool=True)
            for each in background:
                each.start()
                closing.push_async_callback(each.close)
            supervisor.start()
            closing.push_async_callback(supervisor.stop)
            yield

    app = FastAPI(title="ML service", version=version, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(generation_routes(generation))
    app.include_router(job_routes(generation, queue))
    app.include_router(training_routes(trainings, training_queue))
    app.include_router(model_routes(supervisor, catalogue))
    app.include_router(adapter_routes(supervisor, adapters))
    app.include_router(cache_routes(cache))
    app.include_router(forget_routes(forgetting))
    app.include_router(health_routes(supervisor, engine_queue, adapters, cache, metrics, [job_metrics, training_metrics], version))
    app.mount("/v1", OpenAiApi(supervisor))
    document(app, token_needed=bool(settings.ml_service_token))
    errors.install(app)
    app.add_middleware(BodyLimit, larger={"/training/start": MAX_SAMPLES_BYTES})
    app.add_middleware(ServiceToken, tokens=[settings.ml_service_token, settings.former_ml_service_token])
    app.add_middleware(HostGuard, hosts=_own_hosts(settings))
    app.add_middleware(RequestContext, observe=metrics.observe_request, quiet_paths=QUIET_PATHS, believe_traces=True)
    return app


def _own_hosts(settings: Settings) -> AllowedHosts:
    """The names that this service goes by; where workers look for it is one of them."""
    called = [name for url in settings.ml_service_url if (name := urlsplit(url).hostname) is not None]
    return AllowedHosts(settings.host, [*settings.allowed_hosts, *called])


def _version() -> str:
    try:
        return importlib.metadata.version("conversation-assistant")
    except importlib.metadata.PackageNotFoundError:  # run from its sources
        return "0.1.0"
