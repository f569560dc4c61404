"""An ML service whose streams are one event that comes at once, so that what is measured is the queue. What is `slow` never comes."""

import asyncio
from typing import Any

from tests.benchmarks.instant_ml_service import ANSWER

STREAM = b"event: completed\ndata: " + ANSWER + b"\n\n"
SLOW = "slow"


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The ASGI target: as little as a server can do."""
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if f'"{SLOW}"'.encode() in body:
        await asyncio.sleep(3600)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await send({"type": "http.response.body", "body": STREAM})
