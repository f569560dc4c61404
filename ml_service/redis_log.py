"""Redis' append-only file: what was deleted stays in it until it is written anew."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from shared.background import BackgroundTask
from shared.ids import new_id

WANTED: Final = "redis-log:rewrite"
"""What it holds is another each time, so that a wish that comes during a rewrite is not taken for the one before."""
LOOK_SECONDS: Final = 600.0
"""It is looked at so often whether another replica that died left a wish."""
_AWAY: Final = (RedisError, OSError, TimeoutError)
_DROP: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"

log = structlog.get_logger(__name__)


class RedisLog:
    """Has the file written anew after deletions, once for all that come within `pause_seconds`."""

    def __init__(self, redis: Redis, pause_seconds: float) -> None:
        """`redis` is not closed here."""
        self._redis = redis
        self._pause_seconds = pause_seconds
        self._drop = redis.register_script(_DROP)
        self._wanted = asyncio.Event()
        self._task = BackgroundTask("redis log", self._run)

    def start(self) -> None:
        self._task.start()

    async def close(self) -> None:
        await self._task.close()

    async def rewrite_soon(self) -> None:
        """Ask for it. The wish is kept in Redis itself: it outlives this process, and is lost only with what it is about."""
        with suppress(*_AWAY):
            await self._redis.set(WANTED, str(new_id()))
        self._wanted.set()

    async def _run(self) -> None:
        while True:
            with suppress(*_AWAY):
                await self._rewrite_if_wanted()
            await asyncio.sleep(self._pause_seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wanted.wait()
            self._wanted.clear()

    async def _rewrite_if_wanted(self) -> None:
        wish = await self._redis.get(WANTED)
        if wish is None:
            return
        state = await self._redis.info("persistence")
        if state.get("aof_enabled"):
            try:
                await self._redis.bgrewriteaof()
            except ResponseError as error:  # one is being written, which may have begun before; or this server does not let us
                log.info("redis log not written anew now", reason=str(error).partition(" ")[0])
                self._wanted.set()
                return
        await self._drop(keys=[WANTED], args=[wish])
