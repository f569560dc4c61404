"""Server-sent events, written and read (WHATWG HTML Living Standard, section 9.2)."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import NamedTuple

CONTENT_TYPE = "text/event-stream"
HEADERS = [
    (b"content-type", CONTENT_TYPE.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would collect the events otherwise
]
"""Of an answer that is a stream of events."""


class ServerSentEvent(NamedTuple):
    """One event: its name and its data, which here is always JSON."""

    name: str
    data: bytes


def render(event: ServerSentEvent) -> bytes:
    """The event as it goes over the wire. JSON has no raw line breaks, so one `data` line holds it."""
    return b"event: %b\ndata: %b\n\n" % (event.name.encode(), event.data)


async def parse(chunks: AsyncIterable[bytes]) -> AsyncIterator[ServerSentEvent]:
    """The events of a stream that may be cut anywhere; what is incomplete at its end is dropped, as the standard says."""
    rest = b""
    name, data = "message", list[bytes]()
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            field, _, value = line.removesuffix(b"\r").partition(b":")
            value = value.removeprefix(b" ")
            if field == b"event":
                name = value.decode()
            elif field == b"data":
                data.append(value)
            elif not field and not value and not line.startswith(b":"):
                if data:
                    yield ServerSentEvent(name, b"\n".join(data))
                name, data = "message", []
