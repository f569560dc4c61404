"""The time between a stop signal and the stop, in which load balancers have to find other gateways."""

from typing import Any

from shared.asgi import App, AsgiScope, Receive, Send


class Stopping:
    """Whether the gateway was told to stop. It serves on for a while, and says in its health and on its connections that it will not."""

    def __init__(self) -> None:
        self.announced = False

    def announce(self) -> None:
        self.announced = True


class ClosingConnections:
    """Closes each connection after its next answer once the gateway is stopping, and says so in the answer (RFC 9112, section 9.6).

    A connection that is closed without a word may just have been sent the next request, which nobody can safely repeat.
    """

    def __init__(self, app: App, stopping: Stopping) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        async def send_closing(message: Any) -> None:
            if message["type"] == "http.response.start" and self._stopping.announced:
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        await self._app(asgi_scope, receive, send_closing if asgi_scope["type"] == "http" else send)
