"""A draft as server-sent events: `token` …, then exactly one of `completed`, `failed` and `cancelled`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
import structlog
from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.responses.schemas import Draft
from shared import sse
from shared.asgi import ClientGone, current_request_id, unexpected, while_connected
from shared.contracts.generation import TokenEvent
from shared.errors import AppError, error_body

# A client that takes nothing for so long is as good as gone, and blocks the engine.
_SEND_SECONDS = 20.0
_encoder = msgspec.json.Encoder()
_logger = structlog.get_logger(__name__)


class DraftStream(Response[Any]):
    """The answer of a handler that streams. What fails before the first token is an ordinary error answer."""

    def __init__(self, draft: AsyncGenerator[TokenEvent | Draft, None]) -> None:
        """`draft`: its pieces, and last itself."""
        super().__init__(None)
        self._draft = draft

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # type: ignore[override]  # an ASGI app of any kind will do
        return self._stream

    async def _stream(self, _: Scope, receive: Receive, send: Send) -> None:
        events = _EventWriter(send)
        try:
            async with while_connected(receive), aclosing(self._draft) as draft:
                async for part in draft:
                    if isinstance(part, TokenEvent):
                        await events.send("token", part, more=True)
                    else:
                        await events.send(part.status, part)
        except ClientGone:
            if not events.started:
                raise
        except Exception as error:
            if not events.started:
                raise
            if not isinstance(error, AppError):
                _logger.exception("stream failed", exc_info=error)
                error = unexpected()
            await events.send("failed", error_body(error.status, error.message, current_request_id(), error.details))


class _EventWriter:
    """Sends events one by one; the answer begins with the first."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def send(self, name: str, body: object, *, more: bool = False) -> None:
        event = sse.render(sse.ServerSentEvent(name, _encoder.encode(body)))
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                if not self.started:
                    self.started = True
                    await self._send({"type": "http.response.start", "status": 200, "headers": sse.HEADERS})
                await self._send({"type": "http.response.body", "body": event, "more_body": more})
        except TimeoutError:
            raise ClientGone from None
