"""How long an event takes from its publisher to a client's frame, beside Redis alone; and what a socket costs that hears nothing."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import psutil
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect

from deploy.local.postgres import EmbeddedPostgres
from deploy.local.valkey import EmbeddedValkey
from gateway.database import migrate
from gateway.events.journal import BEGINNING, Journal, account_of, channel_of, parse_message
from gateway.events.publisher import EventPublisher
from gateway.events.schemas import DraftToken
from gateway.events.token_listeners import TokenListeners
from tests.benchmarks.measure import Goal, Measurement
from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port

_ALONE = 200
_FRAMES = 60
_PER_SECOND = 20
"""Frames of one stream: what a model writes that a person reads along with."""
_MANY = 128
_BUSY = 50
_IDLE = 500
_LAST = "the last"
_END_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class EventSystem:
    """One gateway on a Valkey, and devices of as many accounts as there are streams."""

    gateway: GatewayProcess
    redis_url: str
    devices: Sequence[Device]


class _Token(msgspec.Struct):
    text: str


class _Event(msgspec.Struct):
    data: _Token


@dataclass(slots=True)
class Stream:
    """What came of an account's events: the milliseconds that each took from its publisher."""

    account_id: UUID
    delays: list[float] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, envelope: bytes | str) -> None:
        text = msgspec.json.decode(envelope, type=_Event).data.text
        if text == _LAST:
            self.ended.set()
        else:
            self.delays.append((time.perf_counter() - float(text)) * 1000)


Readers = Callable[[EventSystem, int], AbstractAsyncContextManager[list[Stream]]]


def measure(folder: Path, rounds: int) -> list[Measurement]:
    """Delays in milliseconds, frames that got lost, and memory."""
    with running_events(folder) as system:
        return asyncio.run(_measure(system, rounds))


async def _measure(system: EventSystem, rounds: int) -> list[Measurement]:
    await delays(system, through_gateway, 8, 20)
    alone = await _beside_redis(system, rounds, 1, _ALONE)
    together = await _beside_redis(system, rounds, 32, _FRAMES)
    lost = [float(_MANY * _FRAMES - len(await delays(system, through_gateway, _MANY, _FRAMES))) for _ in range(rounds)]
    async with idle_sockets(system) as kilobytes:
        crowded = await _beside_redis(system, rounds, _BUSY, _FRAMES)
    against = "Redis alone: published and received"
    return [
        Measurement(
            what="an event from its publisher to a client's frame, 1 socket, p50",
            unit="ms", ours=alone[0], against=against, theirs=alone[1], goal=Goal(rule="at most", value=20),
        ),
        Measurement(
            what=f"a frame of 32 streams, {_PER_SECOND} a second each, p50",
            unit="ms", ours=together[0], against=against, theirs=together[1], goal=Goal(rule="added at most", value=1),
        ),
        Measurement(what=f"frames lost of {_MANY} streams", unit="frames", ours=lost, goal=Goal(rule="at most", value=0)),
        Measurement(
            what=f"a frame of {_BUSY} streams beside {_IDLE} idle sockets, p50",
            unit="ms", ours=crowded[0], against=against, theirs=crowded[1],
        ),
        Measurement(what=f"memory of an idle socket, of {_IDLE}", unit="kB", ours=[kilobytes]),
    ]  # fmt: skip


async def _beside_redis(system: EventSystem, rounds: int, streams: int, frames: int) -> tuple[list[float], list[float]]:
    """Median delays through the gateway and with Redis alone, a round each in turn."""
    sides: list[tuple[Readers, list[float]]] = [(through_gateway, []), (from_redis, [])]
    for number in range(rounds):
        for readers, medians in sides if number % 2 == 0 else reversed(sides):
            medians.append(statistics.median(await delays(system, readers, streams, frames)))
    return sides[0][1], sides[1][1]


async def delays(system: EventSystem, readers: Readers, streams: int, frames: int) -> list[float]:
    """Publish to as many accounts, evenly over time, and gather what arrives."""
    async with readers(system, streams) as opened, publishing(system.redis_url) as publisher:
        pause = 1 / (_PER_SECOND * streams) if streams > 1 else 0.01
        begin = time.perf_counter()
        for number in range(frames * streams):
            await asyncio.sleep(max(0.0, begin + number * pause - time.perf_counter()))
            _say(publisher, opened[number % streams], str(time.perf_counter()))
        for stream in opened:
            _say(publisher, stream, _LAST)
        async with asyncio.timeout(_END_SECONDS):
            for stream in opened:
                await stream.ended.wait()
    return [delay for stream in opened for delay in stream.delays]


def _say(publisher: EventPublisher, stream: Stream, text: str) -> None:
    publisher.publish_token(stream.account_id, DraftToken(response_id=stream.account_id, index=0, sequence=0, text=text))


@asynccontextmanager
async def publishing(redis_url: str) -> AsyncIterator[EventPublisher]:
    async with Redis.from_url(redis_url) as redis:
        journal = Journal(redis)
        publisher = EventPublisher(journal, TokenListeners())
        publisher.start()
        yield publisher
        await publisher.close()


@asynccontextmanager
async def through_gateway(system: EventSystem, count: int) -> AsyncIterator[list[Stream]]:
    """A socket an account."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        streams = []
        for device in system.devices[:count]:
            socket = await stack.enter_async_context(_socket(system, device, "?tokens=true"))
            streams.append(Stream(device.account_id))
            tasks.create_task(_read_socket(socket, streams[-1]))
        yield streams


async def _read_socket(socket: ClientConnection, stream: Stream) -> None:
    while not stream.ended.is_set():
        stream.take(await socket.recv())


@asynccontextmanager
async def from_redis(system: EventSystem, count: int) -> AsyncIterator[list[Stream]]:
    """The same channels, read where the gateway reads them."""
    streams = {device.account_id: Stream(device.account_id) for device in system.devices[:count]}
    async with Redis.from_url(system.redis_url) as redis, redis.pubsub() as pubsub, asyncio.TaskGroup() as tasks:
        await pubsub.subscribe(*map(channel_of, streams))
        for _ in streams:
            await pubsub.get_message(timeout=5)
        tasks.create_task(_read_redis(pubsub, streams))
        yield list(streams.values())


async def _read_redis(pubsub: "Redis.PubSub", streams: dict[UUID, Stream]) -> None:
    while not all(stream.ended.is_set() for stream in streams.values()):
        message = await pubsub.get_message(timeout=5)
        if message is not None:
            for event in parse_message(message["data"]):
                streams[account_of(message["channel"])].take(event.envelope(BEGINNING))


@asynccontextmanager
async def idle_sockets(system: EventSystem) -> AsyncIterator[float]:
    """Sockets of other accounts; gives what each adds to the gateway's memory, in kB of 1,000 bytes."""
    process = psutil.Process(system.gateway.process.pid)
    before = process.memory_info().rss
    async with AsyncExitStack() as stack:
        for number in range(_IDLE):
            device = system.devices[_BUSY + number % (len(system.devices) - _BUSY)]
            await stack.enter_async_context(_socket(system, device))
        yield (process.memory_info().rss - before) / _IDLE / 1000


def _socket(system: EventSystem, device: Device, query: str = "") -> connect:
    address = system.gateway.url.replace("http", "ws", 1) + "/api/events" + query
    return connect(address, additional_headers={"Authorization": f"Bearer {device.token}"}, compression=None, close_timeout=1)


@contextmanager
def running_events(folder: Path) -> Iterator[EventSystem]:
    """Start everything, and stop it again."""
    name = uuid4().hex[:8]
    with ExitStack() as stack:
        postgres = EmbeddedPostgres(folder / f"events-postgres-{name}", folder / "events-postgres.log")
        valkey = EmbeddedValkey(folder / f"events-valkey-{name}", folder / "events-valkey.log")
        for server in (postgres, valkey):
            stack.callback(server.stop)
            server.start()
        asyncio.run(migrate(postgres.url))
        gateway = GatewayProcess(folder, database_url=postgres.url, redis_url=valkey.url, ml_service_url=f"http://127.0.0.1:{free_port()}")
        stack.callback(gateway.stop)
        gateway.start()
        devices = [paired_device(gateway.url) for _ in range(_MANY)]
        yield EventSystem(gateway=gateway, redis_url=valkey.url, devices=devices)
