"""How the project's processes call each other: httpx, with aiohttp's connections below it."""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

CONNECT_SECONDS: Final = 2.0
_IDLE_SECONDS: Final = 4.0
"""uvicorn closes connections that were idle for 5 s: one that might be closing is not used again."""


class PooledTransport(AiohttpTransport):
    """As many connections as there are calls, each used again while it is fresh. Whatever goes wrong on one is an `httpx.RequestError`."""

    def __init__(self) -> None:
        super().__init__(
            verify=ssl.create_default_context(),
            limits=httpx.Limits(max_connections=0, keepalive_expiry=_IDLE_SECONDS),  # to aiohttp 0 is no limit
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with _httpx_errors():
            response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Body(response.stream)
        return response


class _Body(httpx.AsyncByteStream):
    def __init__(self, body: httpx.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors():
            async for chunk in self._body:
                yield chunk

    async def aclose(self) -> None:
        with _httpx_errors():
            await self._body.aclose()


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """The transport lets through what it has no word of httpx's for, an answer that is no HTTP, say."""
    try:
        yield
    except aiohttp.ClientError as error:
        raise httpx.RemoteProtocolError(str(error)) from error
