import asyncio
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.database import Database
from gateway.health.schemas import Readiness
from gateway.ml_client import MlClient
from shared.errors import Unavailable


class HealthService:
    """What the gateway leans on, looked at together."""

    def __init__(self, database: Database, redis: "Redis", ml: MlClient) -> None:
        self._database = database
        self._redis = redis
        self._ml = ml

    async def readiness(self) -> Readiness:
        database, redis, ml = await asyncio.gather(self._database_answers(), self._redis_answers(), self._ml.is_ready())
        status: Literal["ready", "degraded", "unavailable"]
        status = "unavailable" if not database else "ready" if redis and ml else "degraded"
        return Readiness(status=status, database=database, redis=redis, ml_service=ml)

    async def _database_answers(self) -> bool:
        try:
            async with asyncio.timeout(2), self._database.connection() as db:
                return bool(await db.fetchval("select 1") == 1)
        except (Unavailable, TimeoutError):
            return False

    async def _redis_answers(self) -> bool:
        try:
            async with asyncio.timeout(2):
                return bool(await self._redis.ping())
        except (RedisError, TimeoutError, OSError):
            return False
