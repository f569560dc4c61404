from typing import Literal

from gateway.wire import Wire


class Liveness(Wire, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(Wire, frozen=True, kw_only=True):
    """`degraded`: Redis or the ML service is away; `unavailable`: PostgreSQL is."""

    status: Literal["ready", "degraded", "unavailable"]
    database: bool
    redis: bool
    ml_service: bool
