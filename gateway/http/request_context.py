"""The outermost layer: a request id on everything, and one log line and one measurement a request."""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from uuid import uuid4

import structlog
from litestar.types import ASGIApp, Message, Receive, Scope, Send

Observe: TypeAlias = Callable[[str, str | None, int, float], None]
"""Takes the method, the template of the address (None where nothing matched), the status (0: none was sent) and seconds."""
_logger = structlog.get_logger(__name__)
_SWITCHING_PROTOCOLS = 101
_USABLE = re.compile(rb"^[A-Za-z0-9._:-]{1,100}$")


class RequestContext:
    """Raw ASGI, so that answers of the router itself (404, 405) carry the id too.

    `X-Request-Id` is taken when it is short and plain, else made; the log line has the path but never the query string or a body.
    """

    def __init__(self, app: ASGIApp, observe: Observe, end_streams: Callable[[], Awaitable[None]]) -> None:
        """`observe` is told of every HTTP request when it is done; `end_streams` is for the server, which calls it before it stops."""
        self._app = app
        self._observe = observe
        self._forwarding_noticed = False
        self.end_streams = end_streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        self._notice_forwarding(scope)
        request_id = _request_id(scope)
        scope["request_id"] = request_id  # type: ignore[typeddict-unknown-key]
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            kind: str = message["type"]
            if kind in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                answer: Any = message
                status = int(answer.get("status", _SWITCHING_PROTOCOLS))
                answer["headers"] = [*answer.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                seconds = time.perf_counter() - started
                method = str(scope.get("method", "WS"))
                if method != "WS":
                    self._observe(method, scope.get("path_template"), status, seconds)
                _logger.info("request", method=method, path=scope["path"], status=status, milliseconds=round(seconds * 1000, 1))

    def _notice_forwarding(self, scope: Any) -> None:
        """Say once that somebody forwards requests whom nobody trusts: all of that proxy's clients then share its address and its limits.

        The server has put the address that it believes into the scope. Where that is none of those in the header, it believed none.
        """
        if self._forwarding_noticed or not scope.get("client"):
            return
        peer = str(scope["client"][0])
        if any(name == b"x-forwarded-for" and peer not in value.decode("latin-1") for name, value in scope["headers"]):
            self._forwarding_noticed = True
            _logger.warning("X-Forwarded-For is not believed: if a proxy of yours sends it, name it in TRUSTED_PROXIES", peer=peer)


def request_id_of(scope: Scope) -> str | None:
    """The id of the request that a scope belongs to."""
    request_id = scope.get("request_id")
    return request_id if isinstance(request_id, str) else None


def _request_id(scope: Any) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _USABLE.match(value):
            return str(value.decode())
    return uuid4().hex
