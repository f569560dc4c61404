"""Clients that read events, and a publisher that is no gateway."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

import httpx
import jwt
from redis.asyncio import Redis
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from gateway.events.journal import Journal
from gateway.events.publisher import EventPublisher, PendingEvent
from tests.factories import NO_TLS, Device
from tests.fixtures.gateway import JWT_KEYS
from tests.fixtures.waiting import PATIENCE_SECONDS

T = TypeVar("T")


def listening(url: str, token: str, path: str = "", **options: Any) -> ClientConnection:
    """An open WebSocket on a gateway; `path` is what follows the address, such as `?tokens=true`."""
    address = url.replace("http", "ws", 1) + "/api/events" + path
    socket: ClientConnection = connect(address, additional_headers={"Authorization": f"Bearer {token}"}, **options)
    return socket


def token_for(device: Device, *, seconds: int = 3600, key: str | None = None) -> str:
    """Another token of the device, which expires in so many seconds."""
    claims = jwt.decode(device.token, options={"verify_signature": False})
    key_id, _, secret = JWT_KEYS.partition(":")
    return jwt.encode({**claims, "exp": int(time.time()) + seconds}, key or secret, algorithm="HS256", headers={"kid": key_id})


def received(socket: ClientConnection, count: int = 1, seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
    """The next events."""
    return [json.loads(socket.recv(timeout=seconds)) for _ in range(count)]


def until(socket: ClientConnection, event_type: str, seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
    """All events up to the first of a type."""
    events = received(socket, seconds=seconds)
    while events[-1]["type"] != event_type:
        events += received(socket, seconds=seconds)
    return events


def rest_of(socket: ClientConnection, seconds: float = PATIENCE_SECONDS) -> tuple[list[dict[str, Any]], int | None]:
    """The events until the gateway closes, and its close code."""
    events: list[dict[str, Any]] = []
    try:
        while True:
            events += received(socket, seconds=seconds)
    except ConnectionClosed as closed:
        return events, closed.rcvd.code if closed.rcvd else None


@contextmanager
def streaming(url: str, token: str, *, headers: dict[str, str] | None = None, **query: str) -> Iterator[Iterator[dict[str, str]]]:
    """The server-sent events of a gateway: each as its fields; a comment has only `comment`."""
    with httpx.Client(timeout=PATIENCE_SECONDS, verify=NO_TLS) as client:
        all_headers = {"Authorization": f"Bearer {token}", **(headers or {})}
        with client.stream("GET", f"{url}/api/events/stream", params=query, headers=all_headers) as answer:
            assert answer.status_code == 200, answer.read()
            yield _blocks(answer.iter_lines())


def _blocks(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    block: dict[str, str] = {}
    for line in lines:
        if not line:
            yield block
            block = {}
            continue
        name, _, value = line.partition(": ")
        block[name or "comment"] = value or line.removeprefix(": ")


def named(events: Iterator[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Without comments."""
    return (event for event in events if "event" in event)


def with_publisher(redis_url: str, act: Callable[[EventPublisher], Awaitable[T]]) -> T:
    """Publish from this process, and wait until it is out."""

    async def run() -> T:
        async with Redis.from_url(redis_url) as redis:
            journal = Journal(redis)
            publisher = EventPublisher(journal)
            publisher.start()
            try:
                result = await act(publisher)
                async with asyncio.timeout(PATIENCE_SECONDS):  # `close` gives up after 2 s
                    await publisher.sent()
                return result
            finally:
                await publisher.close()

    return asyncio.run(run())


def publish(redis_url: str, account_id: UUID, numbers: Sequence[int], *, size: int = 0) -> None:
    """Publish an event for each number, which is its only content but for `size` characters of ballast."""

    async def act(publisher: EventPublisher) -> None:
        for number in numbers:
            publisher.publish(account_id, PendingEvent("sync:completed", {"number": number, "ballast": "x" * size}))

    with_publisher(redis_url, act)


def numbers_of(events: Sequence[dict[str, Any]]) -> list[int]:
    return [event["data"]["number"] for event in events]
