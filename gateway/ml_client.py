"""The ML service as the gateway sees it: one typed method a call. Foreign errors are translated here and nowhere else."""

import httpx
from httpx_aiohttp import AiohttpTransport

_CONNECT_SECONDS = 2.0


class MlClient:
    """Talks to the ML service over pooled connections."""

    def __init__(self, url: str, token: str, timeout_seconds: float) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
            transport=AiohttpTransport(),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def is_ready(self) -> bool:
        """Whether it can generate now."""
        try:
            return (await self._http.get("/health", timeout=2)).status_code == 200
        except httpx.HTTPError:
            return False
