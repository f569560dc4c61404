from typing import Literal

from litestar import Controller, Response, get

from gateway.auth.authentication import PUBLIC
from gateway.health.service import HealthService, Readiness
from gateway.wire import Wire


class Liveness(Wire, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["alive"] = "alive"


class HealthController(Controller):
    path = "/health"
    tags = ("health",)
    opt = PUBLIC

    @get("/live", summary="Does the process answer?")
    async def live(self) -> Liveness:
        """Never looks at anything else, so that an orchestrator does not restart the gateway because Postgres is away."""
        return Liveness()

    @get("/ready", summary="Can it serve requests?")
    async def ready(self, health: HealthService) -> Response[Readiness]:
        """200 while PostgreSQL answers, else 503. Redis and the ML service are reported: without them only some calls fail."""
        readiness = await health.readiness()
        return Response(readiness, status_code=200 if readiness.status != "unavailable" else 503)
