"""How many connections the gateway serves, and how long each may take to say what it wants."""

import asyncio
import resource
from typing import Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.asgi import App, AsgiScope, Receive, Send, send_error
from shared.errors import Unavailable, error_body

HEADER_SECONDS: Final = 10.0
"""A request's line and headers must be there so long after the connection was made, or after they could begin to come."""
MAXIMUM_HEADER_BYTES: Final = 64 * 2**10
SPARE_CONNECTIONS: Final = 100
"""How many more connections there may be than requests: for those that only ask for `/health`, are told to come later, or are idle."""
_UNREAD_SECONDS: Final = 60.0
"""An answer that nobody has read so long after its connection should be closed is dropped."""
_RETRY_SECONDS: Final = 5
_OPEN_FILES: Final = 65_536
_FULL: Final = "This gateway serves as many connections as it may; try again in a moment"
_OPEN_PATHS: Final = "/health/"


class RequestLimit:
    """Serves so many requests, WebSockets and event streams at the same time; `/health` is always answered."""

    def __init__(self, app: App, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._open = 0

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        if asgi_scope["type"] == "lifespan" or asgi_scope["path"].startswith(_OPEN_PATHS):
            await self._app(asgi_scope, receive, send)
            return
        if self._open >= self._limit:
            await send_error(asgi_scope, send, Unavailable(_FULL, retry_after=_RETRY_SECONDS), close=True)
            return
        self._open += 1
        try:
            await self._app(asgi_scope, receive, send)
        finally:
            self._open -= 1


def http_protocol(limit: int) -> type[asyncio.Protocol]:
    """uvicorn's protocol for a server whose `RequestLimit` is this."""

    class Protocol(BoundedProtocol):
        most_connections = limit + SPARE_CONNECTIONS

    return Protocol


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's own waits for ever for headers, as many as come, on as many connections as are made. This one does not."""

    most_connections: int
    _headers_due: asyncio.TimerHandle | None = None
    """Set while a request's headers may come and have not all come."""
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            self._end(503, _FULL, f"retry-after: {_RETRY_SECONDS}\r\n")
        else:
            self._expect_headers(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._headers_due is not None:
            self._header_bytes += len(data)
            if self._header_bytes > MAXIMUM_HEADER_BYTES:
                self._end(431, "The headers are larger than 64 KiB")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._headers_due is None:  # of the next request, while the one before is being answered
            self._expect_headers(HEADER_SECONDS)

    def on_headers_complete(self) -> None:
        self._headers_came()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:  # nothing else is there to be answered
            self._headers_came()
            self._expect_headers(self.timeout_keep_alive + HEADER_SECONDS)

    def _expect_headers(self, seconds: float) -> None:
        self._header_bytes = 0
        self._headers_due = self.loop.call_later(seconds, self._headers_did_not_come)

    def _headers_came(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _headers_did_not_come(self) -> None:
        self._headers_due = None
        self.transport.close()
        self.loop.call_later(_UNREAD_SECONDS, self.transport.abort)

    def _end(self, status: int, message: str, headers: str = "") -> None:
        """Answer without the app, and close."""
        self._headers_came()
        content = error_body(status, message, None)
        body = msgspec.json.encode(content)
        head = (
            f"HTTP/1.1 {status} {content['error']}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"{headers}connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def allow_open_files() -> None:
    """Let this process have as many connections as it is allowed to: often the default is 1,024 open files, and the most is far more."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if most == resource.RLIM_INFINITY else min(most, _OPEN_FILES)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
