"""How large a request's body may be, and how long it may take to come."""

import asyncio
from typing import Any, Final

from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from shared.errors import PayloadTooLarge, RequestTimeout

SMALL_BODY: Final = {"small_body": True}
"""`opt` of a handler that anybody may call: strangers get less room and less time."""
MAXIMUM_BODY: Final = 8 * 2**20
BODY_SECONDS: Final = 120.0
MAXIMUM_SMALL_BODY: Final = 16 * 2**10
SMALL_BODY_SECONDS: Final = 10.0


class BodyLimits(ASGIMiddleware):
    """The first middleware: whoever reads the body behind it reads no more than it lets through.

    A body that is too large is refused with 413, if it says so before a byte of it is read; one that does not come in time with 408.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        small = scope["route_handler"].opt.get("small_body")
        most, seconds = (MAXIMUM_SMALL_BODY, SMALL_BODY_SECONDS) if small else (MAXIMUM_BODY, BODY_SECONDS)
        declared = Headers.from_scope(scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise _too_large(most)
        await next_app(scope, _bounded(receive, most, seconds), send)


def _bounded(receive: Receive, most: int, seconds: float) -> Receive:
    deadline = asyncio.get_running_loop().time() + seconds
    complete = False
    size = 0

    async def receive_bounded() -> Any:
        nonlocal complete, size
        if complete:
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message: Any = await receive()
        except TimeoutError:
            raise RequestTimeout(f"The body did not come within {seconds:.0f} seconds; send it again, in smaller parts") from None
        size += len(message.get("body", b""))
        if size > most:
            raise _too_large(most)
        complete = not message.get("more_body", False)
        return message

    return receive_bounded


def _too_large(most: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than the {most // 2**10:,} KiB that this address takes; send it in smaller parts")
