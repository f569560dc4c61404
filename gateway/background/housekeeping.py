"""Forgets what has run out, once a minute, on every replica: each sweep finds what no other has removed yet."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog

from shared.background import BackgroundTask
from shared.errors import Unavailable

_EVERY_SECONDS = 60

Sweep: TypeAlias = Callable[[], Awaitable[None]]
"""Forgets what has run out of one thing; it may run on several replicas at once."""
_logger = structlog.get_logger(__name__)


def housekeeping(sweeps: Sequence[Sweep]) -> BackgroundTask:
    """Runs the sweeps, one after the other. What goes wrong in one is logged and tried again a minute later."""

    async def run() -> None:
        while True:
            try:
                for sweep in sweeps:
                    await sweep()
            except Unavailable:
                _logger.warning("housekeeping skipped: the database is away")
            await asyncio.sleep(_EVERY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311

    return BackgroundTask("housekeeping", run)
