"""What a service does beside its requests, for as long as it runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import structlog
from prometheus_client import Counter

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
_CANCEL_AGAIN_SECONDS: Final = 1.0

FAILURES: Final = Counter(
    "background_task_failures_total",
    "Background tasks that met an error which they did not know, and started again.",
    ["task"],
    registry=None,
)
"""Each service puts it into its own registry."""

log = structlog.get_logger(__name__)


class Background(Protocol):
    """What goes on in the background of a service from its start to its end."""

    def start(self) -> None: ...

    async def close(self) -> None: ...


class BackgroundTask:
    """A task that ends only when it is told to.

    An error that its function does not handle is logged and counted, and the function is started again: after half a second, then after
    twice as long each time, up to half a minute. A function that returns has done its work.
    """

    def __init__(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._run = run
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_running(), name=self._name)

    async def close(self) -> None:
        """Cancel it and wait until it has ended; does nothing if it was not started."""
        if self._task is not None:
            await end(self._task)

    async def finished(self, seconds: float) -> bool:
        """Whether it returns by itself within some seconds."""
        if self._task is None:
            return True
        done, _ = await asyncio.wait([self._task], timeout=seconds)
        return bool(done)

    async def _keep_running(self) -> None:
        clock = asyncio.get_running_loop().time
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = clock()
            try:
                await self._run()
            except Exception as error:
                if clock() - began > LONGEST_PAUSE_SECONDS:  # it went well for a while
                    pause = FIRST_PAUSE_SECONDS
                FAILURES.labels(self._name).inc()
                log.error("background task failed", task=self._name, again_in=pause, exc_info=error)
            else:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended.

    Asked for more than once: before Python 3.12 `asyncio.wait_for`, which redis-py sends through, can lose a cancellation.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
