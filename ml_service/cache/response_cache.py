"""Finished answers in Redis. Redis may be away: then nothing is cached, nothing waits for it, and health says so."""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from ml_service.cache.keys import PREFIX
from shared.contracts.generation import Candidate
from shared.errors import Unavailable

TIMEOUT_SECONDS: Final = 1.0
"""Longer than loading a model holds up the event loop: that would look as if Redis were away."""
PAUSE_SECONDS: Final = 1.0
"""After a failure Redis is left alone for so long, so that requests do not each wait for a timeout."""
SCAN_COUNT: Final = 1000

Answer = TypeVar("Answer")
log = structlog.get_logger(__name__)


class ResponseCache:
    """Gets and puts answers by key; connects on first use."""

    def __init__(self, redis_url: str, ttl_seconds: int) -> None:
        # One retry at once: a connection that a restarted Redis has closed is replaced without anyone noticing.
        self._redis: Redis = Redis.from_url(
            redis_url,
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[RedisConnectionError],
        )
        self._ttl_seconds = ttl_seconds
        self._left_alone_until = 0.0
        self._away = False

    async def get(self, key: str) -> list[Candidate] | None:
        """The cached answer; None when there is none, or Redis is away."""
        try:
            value = await self._call(self._redis.get(key))
            return msgspec.json.decode(value, type=list[Candidate]) if value is not None else None
        except Unavailable:
            return None
        except msgspec.MsgspecError:  # written by another version
            return None

    async def put(self, key: str, candidates: list[Candidate]) -> None:
        """Keep an answer; does nothing while Redis is away."""
        with suppress(Unavailable):
            await self._call(self._redis.set(key, msgspec.json.encode(candidates), ex=self._ttl_seconds))

    async def invalidate(self, pattern: str) -> int:
        """Drop the answers whose key, after the cache's own prefix, matches a glob pattern; `<scope>:*` drops one scope's.

        Returns:
            How many were dropped.

        Raises:
            Unavailable: Redis is away; some may have been dropped.
        """
        dropped = 0
        cursor = 0
        while True:
            cursor, keys = await self._call(self._redis.scan(cursor, match=PREFIX + pattern, count=SCAN_COUNT))
            if keys:
                dropped += await self._call(self._redis.unlink(*keys))
            if cursor == 0:
                return dropped

    async def connected(self) -> bool:
        """Whether Redis answers now."""
        try:
            await self._call(self._redis.ping())
        except Unavailable:
            return False
        return True

    async def close(self) -> None:
        await self._redis.aclose()

    async def _call(self, command: Awaitable[Any]) -> Any:
        if time.monotonic() < self._left_alone_until:
            if asyncio.iscoroutine(command):
                command.close()
            raise Unavailable("Redis is away")
        try:
            result = await command
        except (RedisError, OSError, TimeoutError) as error:
            self._left_alone_until = time.monotonic() + PAUSE_SECONDS
            if not self._away:
                log.warning("redis is away, nothing is cached", kind=type(error).__name__)
            self._away = True
            raise Unavailable("Redis is away") from error
        if self._away:
            log.info("redis is back")
        self._away = False
        return result
