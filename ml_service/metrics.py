"""The service's own Prometheus metrics; vLLM registers its own by itself."""

from collections.abc import Callable
from typing import Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector

from ml_service.engine.fair_queue import FairQueue
from ml_service.engine.supervisor import STATES, EngineSupervisor
from shared.asgi import AsgiScope, route_of
from shared.background import FAILURES
from shared.metrics import observe_request, request_durations

Outcome = Literal["completed", "cached", "failed", "refused", "unavailable", "abandoned"]
SECONDS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counters in a registry of their own, so that several apps can live in one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(FAILURES)
        self._durations = request_durations("ml", self._registry)
        self.requests = Counter("ml_generation_requests", "Generation requests by how they ended.", ["outcome"], registry=self._registry)
        self.cache = Counter("ml_cache_lookups", "Lookups of cached answers.", ["result"], registry=self._registry)
        self.rebuilds = Counter("ml_engine_rebuilds", "Engines given up and started again.", ["reason"], registry=self._registry)
        self.first_token = Histogram(
            "ml_first_token_seconds",
            "From request to first generated token.",
            buckets=SECONDS_BUCKETS,
            registry=self._registry,
        )

        self.adapter_load_seconds = Histogram(
            "ml_adapter_load_seconds",
            "From the first request for an adapter to its being loaded: finding, checking, loading.",
            buckets=SECONDS_BUCKETS,
            registry=self._registry,
        )
        self.adapter_evictions = Counter("ml_adapter_evictions", "Adapters that made room for others.", registry=self._registry)
        self.adapter_refusals = Counter(
            "ml_adapter_refusals", "Requests whose adapter could not be used, by why.", ["reason"], registry=self._registry
        )
        self.adapter_fallbacks = Counter(
            "ml_adapter_fallbacks", "Requests answered by the base model because their adapter could not be used.", registry=self._registry
        )

    def observe_request(self, asgi_scope: AsgiScope, status: int, seconds: float) -> None:
        """Note one request that is over; its `status` is 0 if nothing was answered."""
        observe_request(self._durations, asgi_scope["method"], route_of(asgi_scope), status, seconds)

    def add(self, collector: Collector) -> None:
        """Report what it collects, too."""
        self._registry.register(collector)

    def observe_engine(self, supervisor: EngineSupervisor, engine_queue: FairQueue) -> None:
        """Report the engine's state, what it does and who waits for it at each scrape."""
        state = Gauge("ml_engine_state", "1 for the state that the engine is in.", ["state"], registry=self._registry)
        for name in STATES:
            state.labels(name).set_function(lambda name=name: float(supervisor.state == name))  # type: ignore[misc]
        admission = Gauge("ml_engine_admission", "Share of the usual work that the engine lets in.", registry=self._registry)
        admission.set_function(lambda: engine_queue.share)
        running = Gauge("ml_generations_running", "Answers that are being generated.", registry=self._registry)
        running.set_function(lambda: supervisor.running)
        waiting = Gauge("ml_generations_waiting", "Answers that wait for a place in the batch.", registry=self._registry)
        waiting.set_function(lambda: engine_queue.waiting)

    def observe_adapters(self, loaded: Callable[[], int]) -> None:
        """Report at each scrape how many adapters the engine holds."""
        gauge = Gauge("ml_adapters_loaded", "Adapters that the engine holds.", registry=self._registry)
        gauge.set_function(lambda: float(loaded()))

    def render(self) -> bytes:
        """Everything in Prometheus' text format (version 0.0.4)."""
        return generate_latest(REGISTRY) + generate_latest(self._registry)
