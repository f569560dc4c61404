"""Finished answers in Redis. Redis may be away: then nothing is cached, nothing waits for it, and health says so."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ml_service.cache.keys import PREFIX, epoch_key, names_key
from shared.contracts.generation import Candidate
from shared.errors import Unavailable

PAUSE_SECONDS: Final = 1.0
"""After a failure Redis is left alone for so long, so that requests do not each wait for a timeout."""
SCAN_COUNT: Final = 1000
EPOCH_SECONDS: Final = 86_400
"""Longer than any answer is in the making."""

# KEYS: epoch, answer, names. ARGV: the epoch in which the answer was begun, the answer, how long it is kept in milliseconds.
PUT: Final = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[3], now + ARGV[3], KEYS[2])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return 1
"""
# KEYS: epoch, names. ARGV: how long the epoch is kept in seconds.
FORGET: Final = """
redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[1])
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do redis.call('UNLINK', name) end
redis.call('DEL', KEYS[2])
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found under a key, if anything was; and the scope's epoch then, None while Redis is away."""

    answer: list[Candidate] | None
    epoch: bytes | None


class ResponseCache:
    """Gets and puts answers by key."""

    def __init__(self, redis: Redis, ttl_seconds: int) -> None:
        """`redis` gives bytes, and up after some time; it is not closed here."""
        self._redis = redis
        self._ttl_seconds = ttl_seconds
        self._put = redis.register_script(PUT)
        self._forget = redis.register_script(FORGET)
        self._left_alone_until = 0.0
        self._away = False

    async def get(self, scope: str, key: str) -> Found:
        """What there is under a key of a scope; nothing while Redis is away."""
        try:
            value, epoch = await self._call(self._redis.mget, [key, epoch_key(scope)])
        except Unavailable:
            return Found(answer=None, epoch=None)
        try:
            answer = msgspec.json.decode(value, type=list[Candidate]) if value is not None else None
        except msgspec.MsgspecError:  # written by another version
            answer = None
        return Found(answer=answer, epoch=epoch or b"")

    async def put(self, scope: str, key: str, candidates: list[Candidate], epoch: bytes | None) -> None:
        """Keep an answer, unless its scope was forgotten since `epoch`; does nothing while Redis is away, or was then."""
        if epoch is None:
            return
        keys = [epoch_key(scope), key, names_key(scope)]
        with suppress(Unavailable):
            await self._call(self._put, keys, [epoch, msgspec.json.encode(candidates), self._ttl_seconds * 1000])

    async def forget(self, scope: str) -> None:
        """Drop a scope's answers, also those that are being written now.

        Raises:
            Unavailable: Redis is away.
        """
        await self._call(self._forget, [epoch_key(scope), names_key(scope)], [EPOCH_SECONDS])

    async def invalidate(self, pattern: str) -> int:
        """Drop the answers whose key, after the cache's own prefix, matches a glob pattern; returns how many there were. It looks at every
        key that Redis has, which `forget` does not.

        Raises:
            Unavailable: Redis is away; some may have been dropped.
        """
        dropped = 0
        cursor = 0
        while True:
            cursor, keys = await self._call(self._redis.scan, cursor, PREFIX + pattern, SCAN_COUNT)
            if keys:
                dropped += await self._call(self._redis.unlink, *keys)
            if cursor == 0:
                return dropped

    async def connected(self) -> bool:
        """Whether Redis answers now."""
        try:
            await self._call(self._redis.ping)
        except Unavailable:
            return False
        return True

    async def _call(self, command: Callable[..., Any], *arguments: Any) -> Any:
        if time.monotonic() < self._left_alone_until:
            raise Unavailable("Redis is away")
        try:
            result = await command(*arguments)
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
