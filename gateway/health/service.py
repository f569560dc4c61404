import asyncio

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.database import Database
from gateway.health.schemas import Readiness, Status
from gateway.health.stopping import Stopping
from gateway.ml_client import MlClient
from shared.errors import Unavailable


class HealthService:
    """What the gateway leans on, looked at together, and whether it will be there."""

    def __init__(self, database: Database, redis: "Redis", ml: MlClient, stopping: Stopping) -> None:
        self._database = database
        self._redis = redis
        self._ml = ml
        self._stopping = stopping

    async def readiness(self) -> Readiness:
        database, redis, ml = await asyncio.gather(self.database_answers(), self.redis_answers(), self._ml.is_ready())
        return Readiness(status=self._status(database, redis and ml), database=database, redis=redis, ml_service=ml)

    async def database_answers(self) -> bool:
        """Whether PostgreSQL does, within two seconds."""
        try:
            async with asyncio.timeout(2), self._database.connection() as db:
                return bool(await db.fetchval("select 1") == 1)
        except (Unavailable, TimeoutError):
            return False

    async def redis_answers(self) -> bool:
        """Whether Redis does, within two seconds."""
        try:
            async with asyncio.timeout(2):
                return bool(await self._redis.ping())
        except (RedisError, TimeoutError, OSError):
            return False

    def _status(self, database: bool, others: bool) -> Status:
        if self._stopping.announced:
            return "stopping"
        if not database:
            return "unavailable"
        return "ready" if others else "degraded"
