"""An ML service that answers at once and always the same, so that what is measured is the way to it."""

import asyncio
import json
import sys
from contextlib import suppress

import uvloop

from tests.benchmarks.plain_http import read_message

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
_HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n".encode()


async def serve(port: int) -> None:
    """Answer on plain connections: whatever is spent here is missing where it is measured."""
    server = await asyncio.start_server(_answer, "127.0.0.1", port)
    await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):  # the client has gone
        while True:
            await read_message(reader)
            writer.write(_HEAD + ANSWER)
    writer.close()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
