"""The whole gateway on one page."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from litestar import Litestar
from litestar.di import Provide
from redis.asyncio import Redis

from gateway.account.routes import AccountController
from gateway.account.service import AccountService
from gateway.adapters.routes import AdapterController
from gateway.adapters.service import AdapterService
from gateway.auth.authentication import CALLERS, AuthenticationMiddleware, Authenticator
from gateway.auth.tokens import DeviceTokens, KeyRing
from gateway.background.housekeeping import housekeeping
from gateway.background.reconciler import Reconciler
from gateway.background.stream_consumer import StreamConsumer
from gateway.console.files import ConsoleFiles
from gateway.console.routes import ConsoleController
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
from gateway.health.routes import HealthController
from gateway.health.service import HealthService
from gateway.health.stopping import ClosingConnections, Stopping
from gateway.http.cors import cors_config
from gateway.http.forwarding import ForwardingNotice
from gateway.http.openapi import docs_assets, openapi_config, openapi_document
from gateway.http.security_headers import SecurityHeaders
from gateway.http.strict_request import StrictRequest
from gateway.idempotency.middleware import IdempotencyMiddleware
from gateway.limits.allowances import Allowances
from gateway.limits.bodies import BodyLimits
from gateway.limits.connections import RequestLimit
from gateway.metrics.routes import MetricsController
from gateway.metrics.service import Metrics
from gateway.ml_client import MlClient
from gateway.responses import queries as draft_queries
from gateway.responses.feedback import FeedbackService
from gateway.responses.forgetting import DraftsOfMessages
from gateway.responses.queueing import DraftQueue
from gateway.responses.results import DraftReconciliation, DraftResults, fail_abandoned
from gateway.responses.routes import ResponseController
from gateway.responses.service import ResponseService
from gateway.samples.history_import import HistoryImportService
from gateway.samples.routes import SampleController
from gateway.samples.service import SampleService
from gateway.settings import Settings
from gateway.sync.direct_chats import DirectChats
from gateway.sync.routes import SyncController
from gateway.sync.service import SyncService
from gateway.system.routes import SystemController
from gateway.system.service import SystemService
from gateway.training import queries as training_queries
from gateway.training.results import TrainingReconciliation, TrainingResults
from gateway.training.routes import TrainingController
from gateway.training.service import TrainingService
from gateway.workspace.providers import chosen_provider
from gateway.workspace.routes import WorkspaceController
from gateway.workspace.service import WorkspaceService
from gateway.workspace.statements import Statements
from gateway.workspace.tools import all_tools
from gateway.workspace.tools.web import WebPages
from shared.asgi import App, RequestContext
from shared.background import Background
from shared.host_guard import AllowedHosts, HostGuard
from shared.redis_events import JOB_EVENTS, TRAINING_EVENTS, JobEvent, TrainingEvent


class Gateway(NamedTuple):
    """The service, and what its server calls before it stops: first it says so, last it ends streams that never would by themselves."""

    app: App
    announce_stop: Callable[[], None]
    end_streams: Callable[[], Awaitable[None]]


def create_app(settings: Settings) -> Gateway:
    """Put the service together; nothing is opened before its lifespan starts."""
    database = Database(settings.database_url, settings.database_pool_size)
    redis = Redis.from_url(settings.redis_url, socket_connect_timeout=1, socket_timeout=2)
    ml = MlClient(settings.ml_service_url, settings.ml_service_token, settings.ml_timeout_seconds)
    allowances = Allowances(settings)
    keys = KeyRing(settings.jwt_keys)
    tokens = DeviceTokens(keys)
    authenticator = Authenticator(tokens, database)
    idempotency = IdempotencyMiddleware(database)
    stopping = Stopping()

    events_redis = Redis.from_url(settings.redis_url, socket_connect_timeout=1)
    journal = Journal(events_redis)
    publisher = EventPublisher(journal)
    hub = EventHub(events_redis, journal, authenticator, allowances)

    deletions = Reconciler("deletions", database, deletion_queries.DUE, Deletions(database, ml))
    trainings = TrainingService(database, ml, publisher, settings.min_training_samples, allowances)
    samples = SampleService(database, trainings.samples_deleted)
    metrics = Metrics(database, hub, settings.metrics_token)
    feedback = FeedbackService(database, samples, metrics.judged)
    drafts_of_messages = DraftsOfMessages(samples)
    chats = DirectChats(database, publisher, allowances, drafts_of_messages)
    training_results = TrainingResults(database, publisher, allowances)
    lost_trainings = TrainingReconciliation(database, ml, training_results, settings.min_training_samples)
    draft_results = DraftResults(database, ml, publisher)
    drafts = Reconciler("drafts", database, draft_queries.DUE, DraftReconciliation(database, ml, draft_results))
    longest_draft = timedelta(seconds=settings.ml_timeout_seconds + 60)
    end_abandoned = partial(fail_abandoned, database, publisher, longest_draft)
    pairing_limit = PairingRateLimit(redis, settings.max_registrations_per_address)
    devices = DeviceService(database, keys, tokens, pairing_limit, settings.registration, publisher, trainings.device_left, allowances)
    provider = chosen_provider(settings)
    statements = Statements(database, provider, all_tools(WebPages()), settings.workspace_commands)

    health = HealthService(database, redis, ml, stopping)

    services = {
        "account": AccountService(database, deletions, publisher, authenticator, allowances.export_places()),
        "adapters": AdapterService(database, ml),
        "authenticator": authenticator,
        "console_files": ConsoleFiles(settings.registration),
        "contacts": ContactService(database, chats, allowances),
        "conversations": ConversationService(database, deletions, publisher, drafts_of_messages),
        "devices": devices,
        "draft_queue": DraftQueue(database, ml, publisher, allowances),
        "events": hub,
        "feedback": feedback,
        "health": health,
        "history_import": HistoryImportService(database, feedback.chosen_drafts, allowances),
        "metrics": metrics,
        "responses": ResponseService(database, ml, publisher, drafts, allowances.draft_places()),
        "samples": samples,
        "sync": SyncService(database, deletions, publisher, allowances, chats, drafts_of_messages),
        "system": SystemService(health, ml, settings.min_training_samples),
        "trainings": trainings,
        "workspace": WorkspaceService(database, statements, settings.workspace_roots),
    }
    background: list[Background] = [  # started in this order, and ended in the other
        publisher,
        housekeeping([idempotency.forget_old, devices.forget_expired, end_abandoned]),
        StreamConsumer(redis, JOB_EVENTS, JobEvent, draft_results),
        StreamConsumer(redis, TRAINING_EVENTS, TrainingEvent, training_results),
        deletions,
        drafts,
        Reconciler("trainings", database, training_queries.DUE, lost_trainings, at_once=4),
        hub,
        statements,
    ]

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as closing:  # last first, and each whatever becomes of the others
            await database.open()
            for close in (database.close, redis.aclose, events_redis.aclose, ml.close):
                closing.push_async_callback(close)
            for each in background:
                each.start()
                closing.push_async_callback(each.close)
            yield

    controllers = [
        ConsoleController,
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
        TrainingController,
        AdapterController,
        SystemController,
        WorkspaceController,
    ]
    app = Litestar(
        route_handlers=[*controllers, openapi_document, docs_assets()],
        dependencies={**CALLERS, **{name: _provide(service) for name, service in services.items()}},
        middleware=[BodyLimits(), AuthenticationMiddleware(authenticator), idempotency],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[lifespan],
        cors_config=cors_config(settings.cors_origins),
        openapi_config=openapi_config(),
        request_class=StrictRequest,
        request_max_body_size=None,  # `BodyLimits` sees to it
        logging_config=None,
    )
    guarded = HostGuard(app, hosts=AllowedHosts(settings.host, settings.allowed_hosts), origins=settings.cors_origins)
    limited = RequestLimit(guarded, settings.max_connections)
    closing_connections = ClosingConnections(SecurityHeaders(ForwardingNotice(limited)), stopping)
    return Gateway(RequestContext(closing_connections, observe=metrics.observe), stopping.announce, hub.end_streams)


def _provide(service: object) -> Provide:
    return Provide(lambda: service, sync_to_thread=False)
