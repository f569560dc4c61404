"""A file that is made while it is sent."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import structlog
from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from shared.asgi import ClientGone, while_connected
from shared.errors import AppError

# A client that takes nothing for so long is as good as gone, and holds what others wait for.
_SEND_SECONDS = 60.0

_logger = structlog.get_logger(__name__)


class Download(Response[Any]):
    """The answer of a handler that streams a file. If the making of it fails, the connection is broken off: what came is no whole file."""

    def __init__(self, parts: AsyncGenerator[bytes, None], media_type: str, headers: dict[str, str]) -> None:
        super().__init__(None)
        self._parts = parts
        self._raw_headers = [(name.lower().encode(), value.encode()) for name, value in {"Content-Type": media_type, **headers}.items()]

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # type: ignore[override]  # an ASGI app of any kind will do
        return self._stream

    async def _stream(self, _: Scope, receive: Receive, send: Send) -> None:
        try:
            async with while_connected(receive), aclosing(self._parts) as parts:
                await send({"type": "http.response.start", "status": 200, "headers": self._raw_headers})
                async for part in parts:
                    async with asyncio.timeout(_SEND_SECONDS):
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except ClientGone:
            return
        except (AppError, TimeoutError) as error:  # the server breaks off what is not sent to its end
            _logger.warning("download broken off", error=type(error).__name__)
