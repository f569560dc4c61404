"""Bodies of the ML service's health, model and cache endpoints."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Gt, Le

from shared.contracts.names import Scope

HealthStatus = Literal["healthy", "loading", "degraded", "unhealthy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`healthy` and `degraded` (Redis is away) can generate; `loading` and `unhealthy` cannot.

    `admission` is the share of the usual work that the engine lets in: 1, or less after several engines had to be given up.
    """

    status: HealthStatus
    model_loaded: bool
    model_version: str
    redis_connected: bool
    queue_length: int
    engine: str
    admission: float
    adapters_loaded: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReload:
    """What `/model/reload` did; `seconds` is how long it took."""

    status: Literal["reloaded", "unchanged"]
    previous: str
    model_version: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSleepRequest:
    """Put the engine to sleep for so many seconds from now; asking again before they have passed moves their end on."""

    seconds: Annotated[float, Gt(0), Le(600)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSleepState:
    """Whether the engine sleeps, and in how many seconds it wakes by itself."""

    asleep: bool
    seconds_left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInvalidation:
    """How many cached answers were dropped."""

    invalidated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetRequest:
    """What shall be known no longer: all cached answers of a scope, and of it these jobs, trainings and adapters, or everything.

    A job that is open is ended; so is the training of an adapter that goes. Other trainings run to their end, and are forgotten when
    that is asked for again.
    """

    scope: Scope
    job_ids: list[str] = field(default_factory=list)
    training_ids: list[str] = field(default_factory=list)
    adapter_ids: list[str] = field(default_factory=list)
    extent: Literal["these", "everything"] = "these"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """`complete` is false while something is left: ask again later."""

    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """One model of the catalogue; `parameters` is a count, `context_length` is in tokens."""

    name: str
    description: str
    parameters: int
    context_length: int
    disk_gib: float
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelList:
    """The models that can be asked for by name, and the one that serves."""

    models: list[ModelInfo]
    active: str
