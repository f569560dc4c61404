from typing import Literal, TypeAlias

from gateway.wire import Wire

Status: TypeAlias = Literal["ready", "degraded", "unavailable", "stopping"]


class Liveness(Wire, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(Wire, frozen=True, kw_only=True):
    """`degraded`: Redis or the ML service is away; `unavailable`: PostgreSQL is; `stopping`: the gateway was told to stop, and serves on
    for a moment."""

    status: Status
    database: bool
    redis: bool
    ml_service: bool
