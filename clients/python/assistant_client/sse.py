"""Reading server-sent events (WHATWG HTML Living Standard, section 9.2)."""

from collections.abc import Iterator
from typing import NamedTuple


class ServerSentEvent(NamedTuple):
    """One event; `id` is empty if it has none. Without data it is no event, but its id counts."""

    name: str
    data: bytes
    id: str


class EventParser:
    """Takes a stream in pieces of any size. By lines of text it could not be read: JSON has characters that Python takes for line ends."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = "message"
        self._id = ""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """The events that this piece completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            name, _, value = line.removesuffix(b"\r").partition(b":")
            value = value.removeprefix(b" ")
            match name:
                case b"event":
                    self._name = value.decode()
                case b"data":
                    self._data.append(value)
                case b"id":
                    self._id = value.decode()
                case b"" if not line.startswith(b":"):
                    if self._data or self._id:
                        yield ServerSentEvent(self._name, b"\n".join(self._data), self._id)
                    self._name, self._id, self._data = "message", "", []
