from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec

from gateway.auth.authentication import PUBLIC
from gateway.health.schemas import Liveness, Readiness
from gateway.health.service import HealthService
from gateway.http.openapi import NO_TOKEN

_UNAVAILABLE = {
    503: ResponseSpec(data_container=Readiness, description="PostgreSQL is away, or the gateway is stopping", generate_examples=False)
}


class HealthController(Controller):
    path = "/health"
    tags = ("health",)
    opt = PUBLIC

    @get("/live", summary="Does the process answer?", security=NO_TOKEN)
    async def live(self) -> Liveness:
        """Never looks at anything else, so that an orchestrator does not restart the gateway because Postgres is away."""
        return Liveness()

    @get("/ready", summary="Can it serve requests?", security=NO_TOKEN, responses=_UNAVAILABLE)
    async def ready(self, health: NamedDependency[HealthService]) -> Response[Readiness]:
        """200 while PostgreSQL answers and nobody has told the gateway to stop, else 503. Redis and the ML service are reported: without
        them only some calls fail."""
        readiness = await health.readiness()
        return Response(readiness, status_code=200 if readiness.status in ("ready", "degraded") else 503)
