"""Notices that a client went away. The framework does not: a handler runs on, and its generation with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from gateway.errors import AppError


class ClientLeft(AppError):
    """Nobody reads the answer any more. It is an error so that nothing keeps the answer; no client ever sees it."""

    status = HTTPStatus.REQUEST_TIMEOUT

    def __init__(self) -> None:
        super().__init__("The client went away")


@asynccontextmanager
async def while_client_waits(receive: Callable[[], Awaitable[Mapping[str, Any]]]) -> AsyncIterator[None]:
    """Cancels the block when the client closes its connection. The request's body must have been read.

    Raises:
        ClientLeft: it did.
    """
    try:
        async with asyncio.timeout(None) as scope:  # never, unless the watcher moves it to now
            watcher = asyncio.create_task(_watch(receive, scope))
            try:
                yield
            finally:
                watcher.cancel()
    except TimeoutError:
        if scope.expired():
            raise ClientLeft from None
        raise


async def _watch(receive: Callable[[], Awaitable[Mapping[str, Any]]], scope: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.reschedule(asyncio.get_running_loop().time())
