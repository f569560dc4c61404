"""How WebSockets are opened: the token in the `Authorization` header, or where browsers can put it; and how they, and requests that reach
no handler, are refused: as HTTP does.

A browser's WebSocket takes no headers, only subprotocols (RFC 6455 section 1.9): it offers two, `bearer` and the token, and gets `bearer`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import structlog
from litestar import WebSocket
from litestar.enums import ScopeType
from litestar.types import Scope, Send

from gateway.errors import AppError, error_headers
from gateway.http.request_context import request_id_of
from shared.errors import error_body

BEARER = "bearer"

_CLOSE_SECONDS = 1.0
_UNEXPECTED = AppError("Something went wrong here; it was logged under this request id")
_logger = structlog.get_logger(__name__)


def offered_token(scope: Scope) -> str | None:
    """The token among a WebSocket's subprotocols, if that is where it is."""
    offered: Any = scope.get("subprotocols") or []
    return str(offered[1]) if len(offered) == 2 and offered[0] == BEARER else None


def accepted_subprotocol(scope: Scope) -> str | None:
    """What to answer: a browser gives up when none of what it offered is taken."""
    offered: Any = scope.get("subprotocols") or []
    return BEARER if BEARER in offered else None


async def refuse(scope: Scope, send: Send, error: AppError) -> None:
    """Answer a request, or a WebSocket's opening request, with an error, in the documented form. The socket never opens.

    Servers that know no such answers to WebSockets (ASGI's extension `websocket.http.response`) make it a plain 403.
    """
    extensions: Any = scope.get("extensions") or {}
    opens_socket = scope["type"] == ScopeType.WEBSOCKET
    kind = "websocket.http.response" if opens_socket else "http.response"
    if opens_socket and kind not in extensions:
        await send({"type": "websocket.close", "code": 4000 + error.status, "reason": error.message})
        return
    body = msgspec.json.encode(error_body(error.status, error.message, request_id_of(scope), error.details))
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error_headers(error)}
    start: Any = {
        "type": f"{kind}.start",
        "status": int(error.status),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    end: Any = {"type": f"{kind}.body", "body": body, "more_body": False}
    await send(start)
    await send(end)


@asynccontextmanager
async def refusals(socket: WebSocket[Any, Any, Any]) -> AsyncIterator[None]:
    """Around all that a WebSocket's handler does: what goes wrong before it is open refuses it, what goes wrong later closes it."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, AppError):
            _logger.exception("socket failed", exc_info=error, path=socket.scope["path"])
        if socket.connection_state == "init":
            await refuse(socket.scope, socket.send, error if isinstance(error, AppError) else _UNEXPECTED)
        else:
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await socket.close(code=1011, reason=_UNEXPECTED.message)
