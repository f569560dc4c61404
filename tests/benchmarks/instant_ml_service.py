"""An ML service that answers at once and always the same, so that what is measured is the way to it."""

import json
from typing import Any

TEXT = "Sounds good, see you then!"
ANSWER = json.dumps(
    {
        "response": TEXT,
        "confidence": 0.8,
        "model_version": "instant",
        "tokens_used": 7,
        "cached": False,
        "finish_reason": "stop",
        "candidates": [{"text": TEXT, "confidence": 0.8, "tokens_used": 7, "finish_reason": "stop"}],
        "dropped_messages": 0,
    }
).encode()
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The ASGI target: as little as a server can do."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
