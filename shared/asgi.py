"""What both services do with raw ASGI, outside of their frameworks: the request's id, errors, and clients that leave.

ASGI hands over plain dictionaries, which each framework types in its own way; the types here fit both.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import msgspec
import structlog
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode

from shared.errors import AppError, error_body, error_headers
from shared.ids import new_id
from shared.tracing import TRACEPARENT, span

AsgiScope: TypeAlias = Mapping[str, Any]
"""What is known of a request when it begins: its type, method, path and headers."""
Message: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
"""Takes the ASGI scope, `receive` and `send`."""
Observe: TypeAlias = Callable[[AsgiScope, int, float], None]
"""Takes the ASGI scope of an HTTP request that is over, the status that was sent (0: none was) and how many seconds it took."""

CLIENT_CLOSED_REQUEST: Final = 499
"""The status of a request whose client left before it was answered, in logs and metrics (nginx's word for it)."""
_SWITCHING_PROTOCOLS: Final = 101
_PLAIN_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})
_DISCONNECTS: Final = frozenset({"http.disconnect", "websocket.disconnect"})

_logger = structlog.get_logger(__name__)


class ClientGone(Exception):
    """The client left before its answer was complete. Nobody sees it; it keeps others from taking the answer for delivered."""


@asynccontextmanager
async def while_connected(receive: Receive) -> AsyncIterator[None]:
    """Run the block, and cancel it when the client disconnects: neither framework does that.

    A request's body must have been read before. What a WebSocket's client says is not listened to.

    Raises:
        ClientGone: the client disconnected; the block has ended.
    """
    try:
        async with asyncio.timeout(None) as block:  # never comes by itself: it is how the standard library cancels one block only
            watcher = asyncio.create_task(_cancel_at_disconnect(receive, block))
            try:
                yield
            finally:
                watcher.cancel()
    except TimeoutError:
        if not block.expired():
            raise
        raise ClientGone from None
    finally:
        await asyncio.gather(watcher, return_exceptions=True)


async def _cancel_at_disconnect(receive: Receive, block: asyncio.Timeout) -> None:
    while (await receive())["type"] not in _DISCONNECTS:
        pass
    block.reschedule(asyncio.get_running_loop().time())


def header(asgi_scope: AsgiScope, name: bytes) -> bytes | None:
    """The first value of a header; `name` is in lower case."""
    return next(iter(header_values(asgi_scope, name)), None)


def header_values(asgi_scope: AsgiScope, name: bytes) -> list[bytes]:
    """Every value of a header, in order; `name` is in lower case."""
    return [bytes(value) for key, value in asgi_scope["headers"] if key == name]


def current_request_id() -> str | None:
    """The id of the request that this task serves."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return str(request_id) if request_id is not None else None


async def send_error(asgi_scope: AsgiScope, send: Send, error: AppError, *, close: bool = False) -> None:
    """Answer a request with an error's documented body. A WebSocket's opening request is answered likewise, and never opens.

    A server that knows no such answers to WebSockets (ASGI's extension `websocket.http.response`) closes it with 4000 + status. With
    `close` the client closes its connection.
    """
    kind = "http.response"
    if asgi_scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in (asgi_scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 4000 + error.status, "reason": error.message})
            return
    body = msgspec.json.encode(error_body(error.status, error.message, current_request_id(), error.details))
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **error_headers(error)}
    if close:
        headers["Connection"] = "close"
    raw_headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": f"{kind}.start", "status": int(error.status), "headers": raw_headers})
    await send({"type": f"{kind}.body", "body": body, "more_body": False})


class RequestContext:
    """The outermost layer: an id on everything that a request makes, one log line and one measurement of each.

    `X-Request-Id` is taken when it is short and plain, else made; it is on the answer and on every log line of the request. The request's
    own line has its path, never its query string. An error that nothing below has answered is logged and answered with 500.
    """

    def __init__(self, app: App, *, observe: Observe, quiet_paths: Container[str] = (), believe_traces: bool = False) -> None:
        """`observe` measures HTTP requests. `quiet_paths`, which machines ask for every few seconds, are logged only when debugging, and
        not traced. With `believe_traces` a request is part of the trace that its caller names: strangers are not believed."""
        self._app = app
        self._observe = observe
        self._quiet_paths = quiet_paths
        self._believe_traces = believe_traces

    def _span(self, asgi_scope: AsgiScope) -> AbstractContextManager[Span]:
        if asgi_scope["type"] != "http" or asgi_scope["path"] in self._quiet_paths:  # a WebSocket is open for hours
            return nullcontext(INVALID_SPAN)
        parent = header(asgi_scope, TRACEPARENT.encode()) if self._believe_traces else None
        return span("request", SpanKind.SERVER, parent.decode("latin-1") if parent is not None else None)

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        if asgi_scope["type"] == "lifespan":
            await self._app(asgi_scope, receive, send)
            return
        given = header(asgi_scope, b"x-request-id")
        request_id = given if given is not None and _PLAIN_ID.fullmatch(given) else str(new_id()).encode()
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Any) -> None:
            nonlocal status
            if message["type"] in _STARTS:
                status = int(message.get("status", _SWITCHING_PROTOCOLS))
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id)]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id.decode()), self._span(asgi_scope) as opened:
            try:
                await self._app(asgi_scope, receive, send_with_id)
            except ClientGone:
                status = CLIENT_CLOSED_REQUEST
            except Exception:
                _logger.exception("request failed", path=asgi_scope["path"])
                if status == 0:
                    await send_error(asgi_scope, send_with_id, unexpected())
            finally:
                seconds = time.perf_counter() - started
                _describe(opened, asgi_scope, status, request_id.decode())
                if asgi_scope["type"] == "http":
                    self._observe(asgi_scope, status, seconds)
                report = _logger.debug if asgi_scope["path"] in self._quiet_paths else _logger.info
                method = asgi_scope.get("method", "WS")
                report("request", method=method, path=asgi_scope["path"], status=status, milliseconds=round(seconds * 1000, 1))


def route_of(asgi_scope: AsgiScope) -> str | None:
    """The template of the route that took a request, as both frameworks write it down; None where none did."""
    template = asgi_scope.get("path_template") or getattr(asgi_scope.get("route"), "path", None)
    return str(template) if template is not None else None


def _describe(opened: Span, asgi_scope: AsgiScope, status: int, request_id: str) -> None:
    """Say of a request's span what may be said: no path, which has ids in it."""
    method, route = asgi_scope.get("method", "WS"), route_of(asgi_scope) or "none"
    opened.update_name(f"{method} {route}")
    opened.set_attributes(
        {"http.request.method": method, "http.route": route, "http.response.status_code": status, "request_id": request_id}
    )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        opened.set_status(Status(StatusCode.ERROR))


def unexpected() -> AppError:
    """What clients are told of a fault of the service itself."""
    return AppError("Something went wrong here; it was logged under this request id")
