from typing import Any

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from gateway.auth.authentication import PUBLIC
from gateway.metrics.service import Metrics
from shared.errors import NotFound


class MetricsController(Controller):
    """For the operator's Prometheus, with a token of its own; without that token there is nothing at this address."""

    path = "/metrics"
    opt = PUBLIC
    include_in_schema = False

    @get("/")
    async def metrics(self, request: Request[Any, Any, Any], metrics: NamedDependency[Metrics]) -> Response[bytes]:
        if not metrics.admits(request.headers.get("authorization", "")):
            raise NotFound("There is nothing at this address")
        return Response(await metrics.render(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
