"""Redis' append-only file: what was deleted stays in it until it is written anew."""

import asyncio

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.background import BackgroundTask

log = structlog.get_logger(__name__)


class RedisLog:
    """Has the file written anew after deletions, once for all that come within `pause_seconds`.

    Also once at the start: a process that was killed may have left it undone.
    """

    def __init__(self, redis: Redis, pause_seconds: float) -> None:
        """`redis` is not closed here."""
        self._redis = redis
        self._pause_seconds = pause_seconds
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._task = BackgroundTask("redis log", self._run)

    def start(self) -> None:
        self._task.start()

    async def close(self) -> None:
        await self._task.close()

    def rewrite_soon(self) -> None:
        """Ask for it; what is asked for during a rewriting is another one."""
        self._wanted.set()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                if (await self._redis.info("persistence")).get("aof_enabled"):
                    await self._redis.bgrewriteaof()  # type: ignore[no-untyped-call]
            except (RedisError, OSError, TimeoutError) as error:  # away, or it writes one that may have been begun before
                log.info("redis log not written anew now", kind=type(error).__name__)
                self._wanted.set()
            await asyncio.sleep(self._pause_seconds)
