"""What the gateway measures of itself, for Prometheus."""

import hmac

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

from gateway.database import Database
from gateway.events.hub import EventHub
from gateway.metrics.collectors import PoolCollector, TrainingCollector
from gateway.responses.schemas import ActionName
from shared.asgi import AsgiScope, route_of
from shared.background import FAILURES
from shared.metrics import observe_request, request_durations


class Metrics:
    """Requests, what becomes of drafts, and how the connection pool is used."""

    def __init__(self, database: Database, hub: EventHub, token: str) -> None:
        """`token` is what a reader has to send; nobody may read without one."""
        self._registry = registry = CollectorRegistry()
        self._token = token
        self._durations = request_durations("gateway", registry)
        self._judged = Counter(
            "gateway_drafts_judged",
            "Drafts that were accepted, edited or rejected, by the base model and whether a personal adapter wrote them",
            ["action", "base_model", "personal"],
            registry=registry,
        )
        registry.register(PoolCollector(database))
        self._trainings = TrainingCollector(database)
        registry.register(self._trainings)
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
        await self._trainings.count()
        return generate_latest(self._registry)
