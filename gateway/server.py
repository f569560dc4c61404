"""uvicorn as the gateway runs it."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from socket import socket
from types import FrameType

import uvicorn

from gateway.limits.connections import allow_open_files, http_protocol
from gateway.settings import Settings
from shared.asgi import App

PING_SECONDS = 20.0
"""WebSockets are pinged so often, and closed when no answer came before the next is due."""
_LONGEST_SOCKET_MESSAGE = 1024 * 1024  # bytes
_START_FAILED = 3


class _Server(uvicorn.Server):
    """Says that it will stop, serves on for a while, and ends the streams that never would by themselves before it waits for what does."""

    def __init__(
        self, config: uvicorn.Config, delay: float, announce_stop: Callable[[], None], end_streams: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(config)
        self._delay = delay
        self._announce_stop = announce_stop
        self._end_streams = end_streams

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets what runs end; a second one, of whatever kind, ends the process at once."""
        if self.should_exit:
            os._exit(128 + sig)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._announce_stop()
        await asyncio.sleep(self._delay)
        await self._end_streams()
        await super().shutdown(sockets)


def serve(settings: Settings, app: App, announce_stop: Callable[[], None], end_streams: Callable[[], Awaitable[None]]) -> None:
    """Run until a signal says otherwise.

    Args:
        announce_stop: called at the signal, while requests are still taken.
        end_streams: ends what would never end by itself; called when nobody should send requests any more.
    """
    allow_open_files()
    server = _Server(_config(settings, app), settings.shutdown_delay_seconds, announce_stop, end_streams)
    with suppress(KeyboardInterrupt):  # the signal has been answered already
        server.run()
    if not server.started:
        sys.exit(_START_FAILED)


def _config(settings: Settings, app: App) -> uvicorn.Config:
    """Messages of WebSockets are small and secret: compressing them would cost memory a socket and tell what is in them by their length."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=http_protocol(settings.max_connections),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,
        ws_max_size=_LONGEST_SOCKET_MESSAGE,
    )
