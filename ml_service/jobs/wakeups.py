"""Tells an idle worker that its queue has something, so that it need not keep asking."""

import asyncio
from contextlib import suppress
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

LOOK_SECONDS: Final = 2.0
"""A queue is looked at so often although nothing was published: a notification may be lost, or have gone to a worker that then died."""
PING_SECONDS: Final = 10.0
"""A subscription on which nothing comes is asked so often whether it still lives."""
PAUSE_SECONDS: Final = 0.25
"""After a failure Redis is left alone for so long."""

REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)

log = structlog.get_logger(__name__)


class WakeUps:
    """Listens to what the scripts publish when a job comes or returns to a queue.

    A notification carries nothing: it says that looking is worth it now, and looking finds what there is. So one that is lost costs time
    and no job, and one too many costs a look.

    Args:
        redis: where the subscription takes its connection; not closed here.
        channel: the queue's, see `QueueNames`.
    """

    def __init__(self, redis: Redis, channel: str) -> None:
        self._redis = redis
        self._channel = channel
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """End the present wait, or else the next one."""
        self._awake.set()

    async def wait(self) -> None:
        """Wait until it is time to look at the queue; a wake-up since the last wait ended counts."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._awake.wait()
        self._awake.clear()

    async def listen(self) -> None:
        """Wake at every notification until cancelled, whether Redis is there or not."""
        while True:
            pubsub = self._redis.pubsub()
            try:
                await pubsub.subscribe(self._channel)
                await self._hear(pubsub)
            except REDIS_ERRORS as error:
                log.debug("queue not heard", kind=type(error).__name__)
            finally:
                with suppress(*REDIS_ERRORS):
                    await pubsub.aclose()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _hear(self, pubsub: Any) -> None:
        """Until the connection breaks. The answer to a subscription wakes too: what was published before it was not heard."""
        asked = False
        while True:
            if await pubsub.get_message(timeout=PING_SECONDS) is not None:
                asked = False
                self.wake()
            elif asked:
                raise TimeoutError
            else:
                asked = True
                await pubsub.ping()
