import asyncio
from uuid import UUID

import structlog

from gateway.errors import AppError
from gateway.ml_client import MlClient

_logger = structlog.get_logger(__name__)


class UnwantedJobs:
    """Ends jobs whose draft nobody wants any more: in the background, because an answer need not wait for that."""

    def __init__(self, ml: MlClient) -> None:
        self._ml = ml
        self._running: set[asyncio.Task[None]] = set()

    def cancel(self, job_id: UUID) -> None:
        """Start to end a job. If the ML service is away the reconciler tries again; at worst it runs and nobody takes what it brings."""
        task = asyncio.create_task(self._cancel(job_id))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Wait a moment for what still runs."""
        if self._running:
            await asyncio.wait(self._running, timeout=2)

    async def _cancel(self, job_id: UUID) -> None:
        try:
            await self._ml.cancel_job(job_id)
        except AppError as error:
            _logger.warning("job not cancelled", response_id=str(job_id), error=type(error).__name__)
