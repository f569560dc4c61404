"""What every request passes through, as raw ASGI: it costs nothing per token.

From the outside in: `RequestContext` gives the request an id, logs it and catches what nobody foresaw; `shared.host_guard` keeps web pages
out; `ServiceToken` lets in who knows the secret; `BodyLimit` reads the body, up to a limit.
"""

import hmac
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

import structlog

from ml_service.errors import ClientGone, body_of, headers_of, unexpected
from shared.errors import AppError, PayloadTooLarge, Unauthorized
from shared.ids import new_id

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES: Final = 4 * 2**20
MAX_SAMPLES_BYTES: Final = 32 * 2**20
"""A training's samples come in one body."""
OPEN_PATHS: Final = frozenset({"/health", "/health/live"})
QUIET_PATHS: Final = frozenset({"/health", "/health/live", "/metrics"})
"""Asked for every few seconds by machines; logged only when debugging."""
CLIENT_CLOSED_REQUEST: Final = 499
REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

log = structlog.get_logger(__name__)


class RequestContext:
    """Binds the request id to the log, returns it, and logs each request once, without its query string."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = _header(scope, b"x-request-id")
        request_id = given if given is not None and REQUEST_ID.fullmatch(given) else str(new_id()).encode()
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id)]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id.decode()):
            try:
                await self._app(scope, receive, send_with_id)
            except ClientGone:
                status = CLIENT_CLOSED_REQUEST
            except Exception:
                log.exception("unexpected error", path=scope["path"])
                if status == 0:
                    await send_error(send_with_id, unexpected())
            finally:
                report = log.debug if scope["path"] in QUIET_PATHS else log.info
                milliseconds = round((time.perf_counter() - started) * 1000, 1)
                report("request", method=scope["method"], path=scope["path"], status=status, milliseconds=milliseconds)


class ServiceToken:
    """Refuses whoever does not send the service's token; without a token set, everyone may enter (loopback only, see settings)."""

    def __init__(self, app: App, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._expected is None or scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        if hmac.compare_digest(_header(scope, b"authorization") or b"", self._expected):
            await self._app(scope, receive, send)
            return
        await refuse(scope, send, Unauthorized("The service token is missing or wrong"))


class BodyLimit:
    """Reads the body before the app does, and refuses one that is too large, declared or not.

    Args:
        app: what comes next.
        limit: bytes that a body may have.
        larger: other limits, by path.
    """

    def __init__(self, app: App, limit: int = MAX_BODY_BYTES, larger: Mapping[str, int] | None = None) -> None:
        self._app = app
        self._limit = limit
        self._larger = larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        limit = self._larger.get(scope["path"], self._limit)
        declared = _header(scope, b"content-length") or b"0"
        body = None if declared.isdigit() and int(declared) > limit else await self._read(receive, limit)
        if body is None:
            await send_error(send, PayloadTooLarge(f"The body is larger than {limit // 2**20} MiB"))
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, receive_again, send)

    async def _read(self, receive: Receive, limit: int) -> bytes | None:
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


async def refuse(scope: Scope, send: Send, error: AppError) -> None:
    """Answer a request with an error; a WebSocket, of which there are none here, never opens."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4000 + error.status})
    else:
        await send_error(send, error)


async def send_error(send: Send, error: AppError) -> None:
    """Answer with an error's documented body."""
    body = body_of(error)
    pairs = {"content-type": "application/json", "content-length": str(len(body)), **headers_of(error)}
    raw = [(name.lower().encode(), value.encode()) for name, value in pairs.items()]
    await send({"type": "http.response.start", "status": int(error.status), "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _header(scope: Scope, name: bytes) -> bytes | None:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None
