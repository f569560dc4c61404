"""How WebSockets are opened and refused: the token is in the `Authorization` header, or where browsers can put it.

A browser's WebSocket takes no headers, only subprotocols (RFC 6455 section 1.9): it offers two, `bearer` and the token, and gets `bearer`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from litestar import WebSocket
from litestar.types import Scope

from shared.asgi import send_error, unexpected
from shared.errors import AppError

BEARER = "bearer"

_CLOSE_SECONDS = 1.0
_logger = structlog.get_logger(__name__)


def offered_token(scope: Scope) -> str | None:
    """The token among a WebSocket's subprotocols, if that is where it is."""
    offered: Any = scope.get("subprotocols") or []
    return str(offered[1]) if len(offered) == 2 and offered[0] == BEARER else None


def accepted_subprotocol(scope: Scope) -> str | None:
    """What to answer: a browser gives up when none of what it offered is taken."""
    offered: Any = scope.get("subprotocols") or []
    return BEARER if BEARER in offered else None


@asynccontextmanager
async def refusals(socket: WebSocket[Any, Any, Any]) -> AsyncIterator[None]:
    """Around all that a WebSocket's handler does: what goes wrong before it is open refuses it, what goes wrong later closes it."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, AppError):
            _logger.exception("socket failed", exc_info=error, path=socket.scope["path"])
        if socket.connection_state == "init":
            await send_error(socket.scope, socket.send, error if isinstance(error, AppError) else unexpected())
        else:
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await socket.close(code=1011, reason=unexpected().message)
