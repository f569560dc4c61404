"""HTTP on plain connections: clients share the machine with what is measured, and a library would take a good part of it."""

import asyncio
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

_CONTENT_LENGTH: Final = re.compile(rb"(?i)content-length: *(\d+)")


def post(url: str, body: object, headers: Mapping[str, str]) -> bytes:
    """A whole request with a JSON body, as it goes over the wire."""
    address = urlsplit(url)
    content = msgspec.json.encode(body)
    lines = [
        f"POST {address.path} HTTP/1.1",
        f"Host: {address.netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(url)
    return await asyncio.open_connection(address.hostname, address.port)


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """The head of a request or an answer; its body is read and dropped."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _CONTENT_LENGTH.search(head)
    await reader.readexactly(int(length[1]) if length else 0)
    return head


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    """Send a request and wait for all of its answer, which must be a 200."""
    writer.write(request)
    head = await read_message(reader)
    assert head.startswith(b"HTTP/1.1 200 "), head
