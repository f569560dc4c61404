"""The whole gateway on one page."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from gateway.account.routes import AccountController
from gateway.account.service import AccountService
from gateway.adapters.routes import AdapterController
from gateway.adapters.service import AdapterService
from gateway.auth.authentication import (
    AuthenticationMiddleware,
    Authenticator,
    provide_optional_principal,
    provide_principal,
    provide_token,
)
from gateway.auth.keys import KeyRing
from gateway.auth.tokens import DeviceTokens
from gateway.background.housekeeping import Housekeeping
from gateway.background.reconciler import Reconciler
from gateway.background.stream_consumer import StreamConsumer
from gateway.contacts.routes import ContactController
from gateway.contacts.service import ContactService
from gateway.conversations.routes import ConversationController, MessageController
from gateway.conversations.service import ConversationService
from gateway.database import Database
from gateway.deletions import queries as deletion_queries
from gateway.deletions.service import Deletions
from gateway.devices.rate_limit import PairingRateLimit
from gateway.devices.routes import DeviceController
from gateway.devices.service import DeviceService
from gateway.errors import EXCEPTION_HANDLERS
from gateway.events.hub import EventHub
from gateway.events.journal import Journal
from gateway.events.publisher import EventPublisher
from gateway.events.routes import EventController
from gateway.events.token_listeners import TokenListeners
from gateway.health.routes import HealthController
from gateway.health.service import HealthService
from gateway.http.forwarding import ForwardingNotice
from gateway.http.openapi import docs_assets, openapi_config, openapi_document
from gateway.http.strict_request import StrictRequest
from gateway.idempotency.middleware import IdempotencyMiddleware
from gateway.limits.allowances import Allowances
from gateway.limits.bodies import BodyLimits
from gateway.limits.connections import RequestLimit
from gateway.metrics.measurements import Metrics
from gateway.metrics.routes import MetricsController
from gateway.ml_client import MlClient
from gateway.responses import queries as draft_queries
from gateway.responses.feedback import FeedbackService
from gateway.responses.forgetting import DraftsOfMessages
from gateway.responses.queueing import DraftQueue
from gateway.responses.results import DraftReconciliation, DraftResults
from gateway.responses.routes import ResponseController
from gateway.responses.service import ResponseService
from gateway.samples.history_import import HistoryImportService
from gateway.samples.routes import SampleController
from gateway.samples.service import SampleService
from gateway.settings import Settings
from gateway.sync.direct_chats import DirectChats
from gateway.sync.routes import SyncController
from gateway.sync.service import SyncService
from gateway.training import queries as training_job_queries
from gateway.training.reconciler import TrainingReconciliation
from gateway.training.results import TrainingResults
from gateway.training.routes import TrainingJobController
from gateway.training.service import JobService
from shared.asgi import App, RequestContext
from shared.background import Background
from shared.host_guard import AllowedHosts, HostGuard
from shared.redis_events import JOB_EVENTS, TRAINING_EVENTS, JobEvent, TrainingEvent


class Gateway(NamedTuple):
    """The service, and what its server calls before it stops: streams of events would never end by themselves."""

    app: App
    end_streams: Callable[[], Awaitable[None]]


def create_app(settings: Settings) -> Gateway:
    """Put the service together; nothing is opened before its lifespan starts."""
    database = Database(settings.database_url, settings.database_pool_size)
    redis = Redis.from_url(settings.redis_url, socket_connect_timeout=1, socket_timeout=2)
    ml = MlClient(settings.ml_service_url, settings.ml_service_token, settings.ml_timeout_seconds)
    allowances = _allowances(settings)
    keys = KeyRing(settings.jwt_keys)
    tokens = DeviceTokens(keys)
    authenticator = Authenticator(tokens, database)
    events_redis = Redis.from_url(settings.redis_url, socket_connect_timeout=1)
    journal = Journal(events_redis)
    listeners = TokenListeners(journal)
    publisher = EventPublisher(journal, listeners)
    hub = EventHub(events_redis, journal, listeners, authenticator, allowances)
    metrics = Metrics(CollectorRegistry(), database, hub, settings.metrics_token)
    housekeeping = Housekeeping(database, publisher, longest_draft=timedelta(seconds=settings.ml_timeout_seconds + 60))
    draft_results = DraftResults(database, ml, publisher)
    jobs = JobService(database, ml, publisher, settings.min_training_samples, allowances)
    training_results = TrainingResults(database, publisher, allowances)
    trainings = TrainingReconciliation(database, ml, training_results, settings.min_training_samples)
    consumers: list[StreamConsumer[Any]] = [
        StreamConsumer(redis, JOB_EVENTS, JobEvent, draft_results),
        StreamConsumer(redis, TRAINING_EVENTS, TrainingEvent, training_results),
    ]
    forgetting = Reconciler("deletions", database, deletion_queries.take_due, Deletions(database, ml))
    drafts = Reconciler("drafts", database, draft_queries.take_due, DraftReconciliation(database, ml, draft_results))
    reconcilers = [
        forgetting,
        drafts,
        Reconciler("trainings", database, training_job_queries.take_due, trainings, at_once=4),
    ]
    samples = SampleService(database)
    feedback = FeedbackService(database, samples)
    drafts_of_messages = DraftsOfMessages(samples)
    pairing_limit = PairingRateLimit(redis, settings.max_registrations_per_address)
    chats = DirectChats(database, publisher, allowances, drafts_of_messages)

    services = {
        "account": AccountService(database, forgetting, publisher, authenticator, allowances.export_places()),
        "adapters": AdapterService(database, ml),
        "contacts": ContactService(database, chats, allowances),
        "conversations": ConversationService(database, forgetting, publisher, drafts_of_messages),
        "events": hub,
        "draft_queue": DraftQueue(database, ml, publisher, allowances),
        "devices": DeviceService(database, keys, tokens, pairing_limit, settings.registration, publisher, [jobs], allowances),
        "feedback": feedback,
        "history_import": HistoryImportService(database, feedback, allowances),
        "health": HealthService(database, redis, ml),
        "jobs": jobs,
        "metrics": metrics,
        "responses": ResponseService(database, ml, publisher, drafts, allowances.draft_places()),
        "samples": samples,
        "sync": SyncService(database, forgetting, publisher, allowances, chats, drafts_of_messages),
    }

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as closing:  # last first, and each whatever becomes of the others
            await database.open()
            for close in (database.close, redis.aclose, events_redis.aclose, ml.close):
                closing.push_async_callback(close)
            background: list[Background] = [publisher, housekeeping, *consumers, *reconcilers, hub]
            for each in background:
                each.start()
                closing.push_async_callback(each.close)
            yield

    app = Litestar(
        route_handlers=[
            HealthController,
            MetricsController,
            DeviceController,
            AccountController,
            SyncController,
            ContactController,
            ConversationController,
            MessageController,
            ResponseController,
            EventController,
            SampleController,
            TrainingJobController,
            AdapterController,
            openapi_document,
            docs_assets(),
        ],
        dependencies={
            "principal": Provide(provide_principal, sync_to_thread=False),
            "caller_token": Provide(provide_token, sync_to_thread=False),
            "optional_principal": Provide(provide_optional_principal, sync_to_thread=False),
            **{name: _provide(service) for name, service in services.items()},
        },
        middleware=[BodyLimits(), AuthenticationMiddleware(authenticator), IdempotencyMiddleware(database)],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[lifespan],
        cors_config=_cors(settings),
        openapi_config=openapi_config(),
        request_class=StrictRequest,
        request_max_body_size=None,  # `BodyLimits` sees to it
        logging_config=None,
    )
    guarded = HostGuard(app, hosts=AllowedHosts(settings.host, settings.allowed_hosts), origins=settings.cors_origins)
    limited = RequestLimit(guarded, settings.max_connections)
    return Gateway(RequestContext(ForwardingNotice(limited), observe=metrics.observe), hub.end_streams)


def _cors(settings: Settings) -> CORSConfig | None:
    """Lets the pages that the operator named read answers; no page is let in with cookies, since there are none."""
    if not settings.cors_origins:
        return None
    return CORSConfig(
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Accept", "Idempotency-Key", "Last-Event-ID", "Prefer", "X-Request-Id"],
        expose_headers=["Content-Disposition", "Location", "Retry-After", "X-Request-Id"],
    )


def _allowances(settings: Settings) -> Allowances:
    return Allowances(
        drafts=settings.max_drafts_per_account,
        queued_drafts=settings.max_queued_drafts_per_account,
        devices=settings.max_devices_per_account,
        event_streams=settings.max_event_streams_per_account,
        contact_handles=settings.max_contact_handles_per_account,
        adapters=settings.max_adapters_per_account,
        stored_mib=settings.max_stored_mib_per_account,
        training_seconds_a_day=settings.max_training_seconds_a_day_per_account,
    )


def _provide(service: object) -> Provide:
    return Provide(lambda: service, sync_to_thread=False)
