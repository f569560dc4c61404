from typing import Any

from shared.asgi import App, AsgiScope, Receive, Send

_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
_DOCUMENTATION = b"default-src 'self' 'unsafe-inline' data:; frame-ancestors 'none'"
"""The page of the OpenAPI document has its script in it; nobody's data is on it."""


class SecurityHeaders:
    """Tells browsers to take no answer for a page, to show none inside another site's page, and to keep none.

    What a handler has said itself stays. That only HTTPS is to be used is said where HTTPS ends, by the proxy.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        if asgi_scope["type"] != "http":
            await self._app(asgi_scope, receive, send)
            return
        wanted = dict(_HEADERS)
        if asgi_scope["path"].startswith("/docs"):
            wanted[b"content-security-policy"] = _DOCUMENTATION
            del wanted[b"cache-control"]

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                said = {name.lower() for name, _ in message.get("headers", [])}
                message["headers"] = [*message.get("headers", []), *(header for header in wanted.items() if header[0] not in said)]
            await send(message)

        await self._app(asgi_scope, receive, send_with_headers)
