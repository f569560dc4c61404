import asyncio
import importlib.metadata
import time
from collections.abc import Sequence
from typing import Final, cast, get_args

from gateway.health.service import HealthService
from gateway.ml_client import MlClient
from gateway.system.schemas import EngineState, Model, System
from shared.contracts.service import Health, ModelInfo, ModelList
from shared.errors import Unavailable

FRESH_SECONDS: Final = 1.0
"""How long an answer is given again: however many clients look, the ML service is asked once in this time."""


class SystemService:
    """The state of the installation, for clients that show it."""

    def __init__(self, health: HealthService, ml: MlClient, fewest_samples: int) -> None:
        """`fewest_samples`: a training with less is refused."""
        self._health = health
        self._ml = ml
        self._fewest_samples = fewest_samples
        self._version = importlib.metadata.version("conversation-assistant")
        self._looking = asyncio.Lock()
        self._seen: System | None = None
        self._seen_at = 0.0

    async def state(self) -> System:
        """As it is now, or was a second ago. What cannot be reached is said to be away, and takes two seconds at most."""
        async with self._looking:
            if self._seen is None or time.monotonic() > self._seen_at + FRESH_SECONDS:
                self._seen = await self._look()
                self._seen_at = time.monotonic()
            return self._seen

    async def _look(self) -> System:
        database, redis, (health, models) = await asyncio.gather(
            self._health.database_answers(), self._health.redis_answers(), self._ask_ml()
        )
        known = models.models if models is not None else []
        return System(
            version=self._version,
            database=database,
            redis=redis,
            engine=_engine(health),
            model=_model_named(health.model_version, known) if health is not None else None,
            base_models=[_model(each) for each in known],
            queue_length=health.queue_length if health is not None else None,
            fewest_training_samples=self._fewest_samples,
        )

    async def _ask_ml(self) -> tuple[Health | None, ModelList | None]:
        try:
            return await asyncio.gather(self._ml.health(), self._ml.models())
        except Unavailable:
            return None, None


def _engine(health: Health | None) -> EngineState:
    return cast("EngineState", health.engine) if health is not None and health.engine in get_args(EngineState) else "away"


def _model_named(name: str, known: Sequence[ModelInfo]) -> Model | None:
    return next((_model(each) for each in known if each.name == name), None)


def _model(info: ModelInfo) -> Model:
    return Model(name=info.name, description=info.description, parameters=info.parameters, context_length=info.context_length)
