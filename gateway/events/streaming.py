"""Events on their way to a client: over a WebSocket, or as server-sent events (WHATWG HTML Living Standard, section 9.2)."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeAlias

from litestar import Response, WebSocket
from litestar.exceptions import WebSocketDisconnect
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.auth.websockets import accepted_subprotocol
from gateway.events.journal import PublishedEvent, body_of
from gateway.events.schemas import StreamClosed
from gateway.events.subscription import SLOW, Frame, Subscription
from shared import sse
from shared.asgi import ClientGone, while_connected

_HEARTBEAT_SECONDS = 20.0
_SEND_SECONDS = 20.0
"""Who takes nothing for so long is not there any more."""
_CLOSE_SECONDS = 1.0
_CLOSED = "stream:closed"
# Browsers come back after so many milliseconds.
_OPENING = b"retry: 2000\n: events follow\n"
_HEARTBEAT = b": heartbeat\n\n"

Subscribe: TypeAlias = Callable[[], AbstractAsyncContextManager[Subscription]]


async def serve_socket(socket: WebSocket[Any, Any, Any], subscription: Subscription) -> None:
    """Open a socket and send events until either side has enough. What the client says is not listened to."""
    await socket.accept(subprotocols=accepted_subprotocol(socket.scope))
    with suppress(ClientGone, WebSocketDisconnect, OSError):
        async with while_connected(socket.receive):
            try:
                while (frames := await subscription.next()) is not None:
                    async with asyncio.timeout(_SEND_SECONDS):
                        for frame in frames:
                            await socket.send({"type": "websocket.send", "bytes": None, "text": frame.envelope.decode()})
            except TimeoutError:
                subscription.end(SLOW)
            ending = subscription.ending or SLOW
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await socket.close(code=ending.code, reason=ending.reason)


class EventStream(Response[Any]):
    """The answer of a handler that streams events until either side has enough. What fails before is an ordinary error answer."""

    def __init__(self, subscribe: Subscribe) -> None:
        super().__init__(None)
        self._subscribe = subscribe

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # type: ignore[override]  # an ASGI app of any kind will do
        return self._stream

    async def _stream(self, _: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientGone):
            async with self._subscribe() as subscription, while_connected(receive):
                await send({"type": "http.response.start", "status": 200, "headers": sse.HEADERS})
                await _send_events(send, subscription)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_CLOSE_SECONDS):
                        await _send_part(send, _farewell(subscription), more=False)


async def _send_events(send: Send, subscription: Subscription) -> None:
    part = _opening(subscription)
    try:
        while True:
            async with asyncio.timeout(_SEND_SECONDS):
                await _send_part(send, part, more=True)
            frames = await subscription.next(patience=_HEARTBEAT_SECONDS)
            if frames is None:
                return
            part = b"".join(map(_rendered, frames)) or _HEARTBEAT
    except TimeoutError:
        subscription.end(SLOW)


def _opening(subscription: Subscription) -> bytes:
    """It has the id to come back with if the connection breaks before the first event. Without data, it is no event itself."""
    beginning = subscription.beginning
    return _OPENING + (b"\n" if beginning is None else b"id: %d-%d\n\n" % beginning)


def _rendered(frame: Frame) -> bytes:
    """Tokens have no `id` line: they are nothing to come back to."""
    event = sse.render(sse.ServerSentEvent(frame.type, frame.envelope))
    return event if frame.position is None else b"id: %d-%d\n%b" % (*frame.position, event)


def _farewell(subscription: Subscription) -> bytes:
    """Server-sent events have no close codes, so the last event says it."""
    ending = subscription.ending or SLOW
    closed = PublishedEvent(None, _CLOSED, body_of(_CLOSED, StreamClosed(code=ending.code, reason=ending.reason)))
    return sse.render(sse.ServerSentEvent(_CLOSED, closed.envelope(subscription.position)))


async def _send_part(send: Send, part: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": more})
