"""What the gateway measures of itself, for Prometheus."""

import hmac

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, generate_latest

from gateway.database import Database
from gateway.events.hub import EventHub
from gateway.metrics.collectors import PoolCollector, TrainingCollector
from shared.asgi import AsgiScope
from shared.background import FAILURES

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
# A client may send any word as its method; only these become labels.
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Metrics:
    """Counts and durations of requests by method, route template and status, and how the connection pool is used.

    Raw paths are never labels: they carry ids, and each would be a time series of its own.
    """

    def __init__(self, database: Database, hub: EventHub, token: str) -> None:
        """`token` is what a reader has to send; nobody may read without one."""
        self._registry = registry = CollectorRegistry()
        self._token = token
        self._durations = Histogram(
            "gateway_request_duration_seconds",
            "How long requests took until their answer was sent; its count is the number of requests",
            ["method", "route", "status"],
            buckets=_BUCKETS,
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
        method = asgi_scope["method"] if asgi_scope["method"] in _METHODS else "other"
        route = asgi_scope.get("path_template") or "none"  # the framework writes it where it found a handler
        self._durations.labels(method, route, str(status)).observe(seconds)

    def admits(self, authorization: str) -> bool:
        """Whether an `Authorization` header allows to read them."""
        return bool(self._token) and hmac.compare_digest(authorization.encode(), f"Bearer {self._token}".encode())

    async def render(self) -> bytes:
        """All of it in Prometheus's text format."""
        await self._trainings.count()
        return generate_latest(self._registry)
