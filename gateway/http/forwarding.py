from typing import Any

import structlog
from litestar.types import Scope

from shared.asgi import App, AsgiScope, Receive, Send, header_values

_logger = structlog.get_logger(__name__)


def provide_client_address(scope: Scope) -> str:
    """Where the request comes from; behind one of TRUSTED_PROXIES what that says (the server has looked at its headers already)."""
    client = scope["client"]
    return client[0] if client else ""


class ForwardingNotice:
    """Says once in the log that somebody forwards requests whom nobody trusts: all clients of that proxy share its address and its limits.

    The server has put the address that it believes into the ASGI scope. Where that is none of those in the header, it believed none.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._said = False

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        if not self._said and asgi_scope["type"] != "lifespan":
            self._look(asgi_scope)
        await self._app(asgi_scope, receive, send)

    def _look(self, asgi_scope: Any) -> None:
        peer = str((asgi_scope.get("client") or ("",))[0])
        if peer and any(peer not in value.decode("latin-1") for value in header_values(asgi_scope, b"x-forwarded-for")):
            self._said = True
            _logger.warning("X-Forwarded-For is not believed: if a proxy of yours sends it, name it in TRUSTED_PROXIES", peer=peer)
