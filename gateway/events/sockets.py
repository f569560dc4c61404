"""Events over a WebSocket."""

import asyncio
from contextlib import suppress
from typing import Any

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from gateway.auth.handshake import accepted_subprotocol, refusals
from gateway.auth.tokens import VerifiedToken
from gateway.events.hub import EventHub
from gateway.events.reading import parse_wish
from gateway.events.subscription import SLOW, Subscription
from shared.asgi import ClientGone, while_connected

SEND_SECONDS = 20.0
"""Who takes nothing for so long is not there any more."""
_CLOSE_SECONDS = 1.0


async def serve_socket(socket: WebSocket[Any, Any, Any], hub: EventHub, token: VerifiedToken) -> None:
    """Open the socket and send events until either side has enough. What the client says is not listened to."""
    async with refusals(socket):
        query = socket.query_params
        wish = parse_wish(last_event_id=socket.headers.get("last-event-id"), after=query.get("after"), tokens=query.get("tokens"))
        async with hub.subscribed(token, after=wish.after, wants_tokens=wish.tokens) as subscription:
            await socket.accept(subprotocols=accepted_subprotocol(socket.scope))
            with suppress(ClientGone, WebSocketDisconnect, OSError):
                async with while_connected(socket.receive):
                    await _send_events(socket, subscription)
                    await _close(socket, subscription)


async def _send_events(socket: WebSocket[Any, Any, Any], subscription: Subscription) -> None:
    try:
        while (frames := await subscription.next()) is not None:
            async with asyncio.timeout(SEND_SECONDS):
                for frame in frames:
                    await socket.send({"type": "websocket.send", "bytes": None, "text": frame.envelope.decode()})
    except TimeoutError:
        subscription.end(SLOW)


async def _close(socket: WebSocket[Any, Any, Any], subscription: Subscription) -> None:
    ending = subscription.ending
    if ending is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await socket.close(code=ending.code, reason=ending.reason)
