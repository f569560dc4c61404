"""What every request passes through beside what `shared` has for both services: the service token, and a limit to bodies. Raw ASGI."""

import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from shared.asgi import App, AsgiScope, ClientGone, Message, Receive, Send, header, send_error
from shared.errors import PayloadTooLarge, Unauthorized

MAX_BODY_BYTES: Final = 4 * 2**20
MAX_SAMPLES_BYTES: Final = 32 * 2**20
"""A training's samples come in one body."""
OPEN_PATHS: Final = frozenset({"/health", "/health/live"})
QUIET_PATHS: Final = OPEN_PATHS | {"/metrics"}
"""Asked for every few seconds by machines; logged only when debugging."""


class ServiceToken:
    """Refuses whoever sends none of the service's tokens; without one, everyone may enter (loopback only, see settings)."""

    def __init__(self, app: App, tokens: Sequence[str]) -> None:
        self._app = app
        self._expected = [f"Bearer {token}".encode() for token in tokens if token]

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        if self._may_enter(asgi_scope):
            await self._app(asgi_scope, receive, send)
        else:
            await send_error(asgi_scope, send, Unauthorized("The service token is missing or wrong"))

    def _may_enter(self, asgi_scope: AsgiScope) -> bool:
        if not self._expected or asgi_scope["type"] == "lifespan" or asgi_scope["path"] in OPEN_PATHS:
            return True
        sent = header(asgi_scope, b"authorization") or b""
        matches = [hmac.compare_digest(sent, expected) for expected in self._expected]  # each is compared, whichever matches
        return any(matches)


class BodyLimit:
    """Reads the body before the app does, and refuses one that is too large, declared or not; `larger` are other limits, by path."""

    def __init__(self, app: App, limit: int = MAX_BODY_BYTES, larger: Mapping[str, int] | None = None) -> None:
        self._app = app
        self._limit = limit
        self._larger = larger or {}

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        if asgi_scope["type"] != "http" or asgi_scope["method"] in {"GET", "HEAD"}:
            await self._app(asgi_scope, receive, send)
            return
        limit = self._larger.get(asgi_scope["path"], self._limit)
        declared = header(asgi_scope, b"content-length") or b"0"
        body = None if declared.isdigit() and int(declared) > limit else await _read(receive, limit)
        if body is None:
            await send_error(asgi_scope, send, PayloadTooLarge(f"The body is larger than {limit // 2**20} MiB"))
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(asgi_scope, receive_again, send)


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The whole body, or None when it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body", False):
            return bytes(body)
