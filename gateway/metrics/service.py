"""What the gateway measures of itself, for Prometheus."""

import hmac
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

from gateway.adapters.service import count_active
from gateway.database import Database
from gateway.events.hub import EventHub
from gateway.responses.schemas import ActionName
from gateway.training.service import count_by_status
from shared.asgi import AsgiScope, route_of
from shared.background import FAILURES
from shared.contracts.training import TrainingStatus
from shared.errors import Unavailable
from shared.metrics import observe_request, request_durations


class Metrics:
    """Requests, what becomes of drafts, and how the connection pool is used."""

    def __init__(self, database: Database, hub: EventHub, token: str) -> None:
        """`token` is what a reader has to send; nobody may read without one."""
        self._registry = registry = CollectorRegistry()
        self._database = database
        self._token = token
        self._durations = request_durations("gateway", registry)
        self._judged = Counter(
            "gateway_drafts_judged",
            "Drafts that were accepted, edited or rejected, by the base model and whether a personal adapter wrote them",
            ["action", "base_model", "personal"],
            registry=registry,
        )
        pool = Gauge("gateway_database_connections", "PostgreSQL connections of this process", ["state"], registry=registry)
        pool.labels("used").set_function(lambda: database.pool_use().used)
        pool.labels("idle").set_function(lambda: database.pool_use().idle)
        pool.labels("limit").set_function(lambda: database.pool_use().limit)
        Gauge("gateway_event_readers", "Open event streams of this process", registry=registry).set_function(lambda: hub.readers)
        ProcessCollector(registry=registry)
        registry.register(FAILURES)

    def observe(self, asgi_scope: AsgiScope, status: int, seconds: float) -> None:
        """Note one request that is over; its `status` is 0 if nothing was answered."""
        observe_request(self._durations, asgi_scope["method"], route_of(asgi_scope), status, seconds)

    def judged(self, action: ActionName, model_version: str) -> None:
        """Note what an owner did with a draft. An adapter's id is no label: each would be a time series of its own."""
        base_model, plus, _ = model_version.partition("+")
        self._judged.labels(action, base_model, "yes" if plus else "no").inc()

    def admits(self, authorization: str) -> bool:
        """Whether an `Authorization` header allows to read them."""
        return bool(self._token) and hmac.compare_digest(authorization.encode(), f"Bearer {self._token}".encode())

    async def render(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self._registry) + generate_latest(await self._counted())

    async def _counted(self) -> CollectorRegistry:
        """What is counted over all accounts now, of which every gateway says the same; nothing while PostgreSQL is away."""
        registry = CollectorRegistry()
        try:
            async with self._database.connection() as db:
                by_status, active = await count_by_status(db), await count_active(db)
        except Unavailable:
            return registry
        jobs = Gauge("gateway_training_jobs", "Training jobs of all accounts", ["status"], registry=registry)
        for status in get_args(TrainingStatus):
            jobs.labels(status).set(by_status.get(status, 0))
        Gauge("gateway_active_adapters", "Accounts whose drafts are written with an adapter", registry=registry).set(active)
        return registry
