"""A draft as server-sent events: `token` …, then exactly one of `completed`, `failed` and `cancelled`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.errors import AppError
from gateway.responses.leaving import ClientLeft, while_client_waits
from gateway.responses.schemas import Draft
from shared import sse
from shared.asgi import current_request_id
from shared.contracts.generation import TokenEvent
from shared.errors import error_body

OnToken = Callable[[TokenEvent], Awaitable[None]]
WriteDraft = Callable[[OnToken], Awaitable[Draft]]

# A client that takes nothing for so long is as good as gone, and blocks the engine.
_SEND_SECONDS = 20.0
_encoder = msgspec.json.Encoder()
_logger = structlog.get_logger(__name__)


class DraftStream(Response[Any]):
    """The answer of a handler that streams. What fails before the first token is an ordinary error answer."""

    def __init__(self, write: WriteDraft) -> None:
        super().__init__(None)
        self._write = write

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # type: ignore[override]  # an ASGI app of any kind will do
        return self._stream

    async def _stream(self, _: Scope, receive: Receive, send: Send) -> None:
        events = _EventWriter(send)
        try:
            async with while_client_waits(receive):
                draft = await self._write(events.token)
                await events.end(draft.status, draft)
        except ClientLeft:
            if not events.started:
                raise
        except AppError as error:
            if not events.started:
                raise
            await events.end("failed", error_body(error.status, error.message, current_request_id(), error.details))
        except Exception as error:
            if not events.started:
                raise
            _logger.exception("stream failed", exc_info=error)
            await events.end(
                "failed", error_body(500, "Something went wrong here; it was logged under this request id", current_request_id())
            )


class _EventWriter:
    """Sends events one by one; the answer begins with the first."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def token(self, token: TokenEvent) -> None:
        await self._event("token", token, more=True)

    async def end(self, name: str, body: object) -> None:
        await self._event(name, body, more=False)

    async def _event(self, name: str, body: object, *, more: bool) -> None:
        event = sse.render(sse.ServerSentEvent(name, _encoder.encode(body)))
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                if not self.started:
                    self.started = True
                    await self._send({"type": "http.response.start", "status": 200, "headers": sse.HEADERS})
                await self._send({"type": "http.response.body", "body": event, "more_body": more})
        except TimeoutError:
            raise ClientLeft from None
