"""Events as server-sent events (WHATWG HTML Living Standard, section 9.2)."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeAlias

from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.events.journal import PublishedEvent, body_of
from gateway.events.schemas import StreamClosed
from gateway.events.subscription import SLOW, Frame, Subscription
from shared import sse
from shared.asgi import ClientGone, while_connected

HEARTBEAT_SECONDS = 20.0
SEND_SECONDS = 20.0
"""Who takes nothing for so long is not there any more."""
_CLOSE_SECONDS = 1.0
_CLOSED = "stream:closed"
# Browsers come back after so many milliseconds.
_OPENING = b"retry: 2000\n: events follow\n\n"
_HEARTBEAT = b": heartbeat\n\n"

Subscribe: TypeAlias = Callable[[], AbstractAsyncContextManager[Subscription]]


class EventStream(Response[Any]):
    """The answer of a handler that streams events until either side has enough. What fails before is an ordinary error answer."""

    def __init__(self, subscribe: Subscribe, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        super().__init__(None)
        self._subscribe = subscribe
        self._heartbeat_seconds = heartbeat_seconds

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # type: ignore[override]  # an ASGI app of any kind will do
        return self._stream

    async def _stream(self, _: Scope, receive: Receive, send: Send) -> None:
        async with self._subscribe() as subscription:
            with suppress(ClientGone):
                async with while_connected(receive):
                    await send({"type": "http.response.start", "status": 200, "headers": sse.HEADERS})
                    await self._send_events(send, subscription)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_CLOSE_SECONDS):
                            await _send_part(send, _farewell(subscription), more=False)

    async def _send_events(self, send: Send, subscription: Subscription) -> None:
        part = _OPENING
        try:
            while True:
                async with asyncio.timeout(SEND_SECONDS):
                    await _send_part(send, part, more=True)
                frames = await subscription.next(patience=self._heartbeat_seconds)
                if frames is None:
                    return
                part = b"".join(map(_rendered, frames)) or _HEARTBEAT
        except TimeoutError:
            subscription.end(SLOW)


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
