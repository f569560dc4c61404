"""Puts the replicas' engines to sleep while something trains on their GPU."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import httpx
import structlog

from shared.background import BackgroundTask
from shared.http_client import PooledTransport

SLEEP_SECONDS: Final = 60
"""An engine wakes by itself when nobody has asked it to go on sleeping for so long: a dead worker puts nothing to sleep for good."""
RENEW_SECONDS: Final = 20.0
CALL_SECONDS: Final = 30.0
"""An engine finishes its answers before it sleeps."""

log = structlog.get_logger(__name__)


class EngineSleep:
    """Asks the replicas' engines to sleep and to wake. One that cannot be reached is passed over: it may not be there at all."""

    def __init__(self, urls: Sequence[str], token: str) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=CALL_SECONDS,
            transport=PooledTransport(),
            trust_env=False,
        )
        self._renewing: BackgroundTask | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.end()
        await self._client.aclose()

    async def begin(self) -> None:
        """Have them sleep until `end`."""
        await self._sleep()
        if self._renewing is None:
            self._renewing = BackgroundTask("engine sleep", self._renew)
            self._renewing.start()

    async def end(self) -> None:
        """Wake them, if they were put to sleep."""
        if self._renewing is None:
            return
        await self._renewing.close()
        self._renewing = None
        await self._ask_all("/model/wake", None)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self._sleep()

    async def _sleep(self) -> None:
        await self._ask_all("/model/sleep", {"seconds": SLEEP_SECONDS})

    async def _ask_all(self, path: str, body: dict[str, int] | None) -> None:
        await asyncio.gather(*(self._ask(url + path, body) for url in self._urls))

    async def _ask(self, url: str, body: dict[str, int] | None) -> None:
        try:
            answer = await self._client.post(url, json=body)
        except httpx.HTTPError as error:
            log.warning("engine not reached", url=url, kind=type(error).__name__)
        else:
            if not answer.is_success:
                log.warning("engine refuses to sleep or wake", url=url, status=answer.status_code)
