"""A worker's heartbeat: its jobs' leases are renewed, those that it has lost are stopped, and those of dead workers are found."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import structlog

from ml_service.jobs.ledger import Ledger, QueueAway

BEAT_SECONDS: Final = 0.25
"""A cancelled job is stopped within this time."""
IDLE_BEAT_SECONDS: Final = 1.0
"""A worker that holds nothing looks after dead workers' jobs so often."""

log = structlog.get_logger(__name__)


class Leases:
    """The jobs that this worker holds.

    Args:
        queue: the ledger.
        lease_seconds: how long a job is this worker's after a heartbeat.
    """

    def __init__(self, queue: Ledger[Any], lease_seconds: float) -> None:
        self._queue = queue
        self._lease_seconds = lease_seconds
        self._held: dict[str, tuple[str, asyncio.Task[Any]]] = {}
        self._holding = asyncio.Event()
        self._connected_since: float | None = None

    @contextmanager
    def hold(self, job_id: str, run: str, work: asyncio.Task[Any]) -> Iterator[None]:
        """Keep a run's lease meanwhile; its work is cancelled when the job is no longer this run's."""
        self._held[run] = (job_id, work)
        self._holding.set()
        try:
            yield
        finally:
            self.let_go(run)

    def let_go(self, run: str) -> None:
        """Keep a run's lease no longer; it runs out by itself."""
        self._held.pop(run, None)
        if not self._held:
            self._holding.clear()

    async def keep(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                await self._beat()
            except QueueAway:
                if self._connected_since is not None:
                    log.warning("redis is away; jobs go on")
                self._connected_since = None
            await self._rest()

    async def _rest(self) -> None:
        """For long while there is nothing to hold; a job that comes meanwhile gets its first heartbeat as soon as any other."""
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE_BEAT_SECONDS - BEAT_SECONDS):
                await self._holding.wait()
        await asyncio.sleep(BEAT_SECONDS)

    async def _beat(self) -> None:
        runs = [(job_id, run) for run, (job_id, _) in self._held.items()]
        for run in await self._queue.renew(runs, look_after=self._may_look_after_others()):
            if run in self._held:
                self._held[run][1].cancel()
        if self._connected_since is None:
            self._connected_since = time.monotonic()
            log.info("redis is there")

    def _may_look_after_others(self) -> bool:
        """When Redis comes back all leases may have run out: first everyone gets time to renew theirs."""
        return self._connected_since is not None and time.monotonic() - self._connected_since > self._lease_seconds / 2
