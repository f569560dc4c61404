"""What things take: bytes of rows with their indexes and of keys in Redis; memory and processor time of sockets, small syncs and drafts.

Made-up messages go through the real gateway into the real schema. docs/SCALE.md and deploy/simulate/inputs.py have their numbers from here.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import psutil
from websockets.asyncio.client import ClientConnection, connect

from tests.benchmarks.measure import Measurement
from tests.factories import Device, message, sync
from tests.fixtures.database import rows
from tests.fixtures.queue_system import QueueSystem, running_queue_system
from tests.gateway.responses.situations import drafted, queued

ACCOUNTS = 20
"""Redis keeps 2,000 events of an account: with one, later ones would take no room."""
CONVERSATIONS, MESSAGES = 1_000, 100
"""Conversations with one person, of all accounts, and messages of each."""
DRAFTS = 1_000
"""Drafts that are queued, one a conversation, and as many that are waited for, each of which becomes a sample."""
SYNCS = 3_000
CLIENTS = 8
SOCKETS = 50
"""WebSockets of each account."""
IDLE_SECONDS = 20.0
LATEST_SECONDS = 300
T = TypeVar("T")
_START = datetime(2024, 1, 1, tzinfo=UTC)
_TABLES = {
    "message": ("message",),
    "conversation with one person": ("conversation", "direct_chat", "participant"),
    "draft, with its prompt of ten messages": ("response",),
    "sample, with its prompt of ten messages": ("sample",),
}
"""What is counted by the first of these tables, and takes the room of all of them."""


@dataclass(frozen=True, slots=True)
class Thread:
    """A synced conversation; `newest` is the id of its last message, which is incoming."""

    device: Device
    handle: str
    newest: str

    def sync(self, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return synced(self.device, self.handle, messages)


def measure(folder: Path) -> list[Measurement]:
    """All of it, once, in about two minutes."""
    with running_queue_system(folder / "storage", gateways=1, workers=1) as system:
        devices = [system.new_device() for _ in range(ACCOUNTS)]
        words = _words()
        threads = _at_once(lambda number: _thread(devices[number % ACCOUNTS], words, number), CONVERSATIONS)
        rows(system.postgres.superuser_url, "vacuum analyze")
        found = [*_small_syncs(system, threads), *_queued(system, threads), *_waited_for(system, threads)]
        rows(system.postgres.superuser_url, "vacuum analyze")
        return [*_rows(system), *found, *_sockets(system, devices)]


def _at_once(act: Callable[[int], T], count: int) -> list[T]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(act, range(count)))


def synced(device: Device, handle: str, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return sync(device, messages, f"iMessage;-;{handle}", participantIds=[handle], isGroup=False)


def _words() -> list[str]:
    """Three thousand made-up words."""
    chance = random.Random(1)
    return ["".join(chance.choice("bdfglmnprst") + chance.choice("aeiou") for _ in range(chance.randint(1, 4))) for _ in range(3_000)]


def _thread(device: Device, words: Sequence[str], number: int) -> Thread:
    chance, handle = random.Random(number), f"+1415{number:07d}"
    messages = [
        message(
            str(uuid4()).upper(),
            senderId=handle if place % 2 else "me",
            direction="incoming" if place % 2 else "outgoing",
            text=" ".join(chance.choices(words, k=chance.randint(5, 15))),
            sentAt=(_START + timedelta(minutes=7 * place)).isoformat(),
        )
        for place in range(MESSAGES)
    ]
    return Thread(device, handle, synced(device, handle, messages)["messages"][-1]["id"])


def _rows(system: QueueSystem) -> list[Measurement]:
    found = []
    for what, tables in _TABLES.items():
        (size,) = rows(
            system.postgres.url, "select sum(pg_total_relation_size(name::regclass)) as bytes from unnest($1::text[]) name", tables
        )
        (count,) = rows(system.postgres.url, f"select count(*) as rows from {tables[0]}")
        found.append(_figure(f"in PostgreSQL with indexes: a {what}", "bytes", float(size["bytes"]) / count["rows"]))
    return found


def _small_syncs(system: QueueSystem, threads: Sequence[Thread]) -> list[Measurement]:
    """Messages that come one at a time, as they do from day to day."""

    def one(number: int) -> None:
        thread = threads[number % len(threads)]
        thread.sync([message(senderId=thread.handle)])

    return _load(system, "a sync of one message", one, SYNCS)


def _queued(system: QueueSystem, threads: Sequence[Thread]) -> list[Measurement]:
    return _load(system, "a queued draft", lambda number: queued(threads[number].device, threads[number].newest), DRAFTS)


def _waited_for(system: QueueSystem, threads: Sequence[Thread]) -> list[Measurement]:
    """With one message less than the queued drafts read, so that they are not answered from the cache."""
    drafts: list[tuple[Device, str]] = []

    def one(number: int) -> None:
        thread = threads[number]
        drafts.append((thread.device, drafted(thread.device, thread.newest, maxHistory=9)["responseId"]))

    found = _load(system, "a draft that is waited for", one, DRAFTS)
    for device, draft in drafts:
        device.client.post(f"/api/responses/{draft}/action", json={"action": "accept"}).raise_for_status()
    return found


def _load(system: QueueSystem, what: str, act: Callable[[int], object], count: int) -> list[Measurement]:
    """How many a second `CLIENTS` clients get done, queued drafts to their end; what each takes of processors and of Valkey's memory."""
    processes = {"gateway": system.gateways[0].process.pid, "PostgreSQL": system.postgres.pid, "Valkey": system.valkey.pid}
    keys, memory = _keys(system), _used_memory(system)
    before, begin = [_processor_seconds(pid) for pid in processes.values()], time.perf_counter()
    _at_once(act, count)
    while rows(system.postgres.url, "select true from response where request is not null limit 1"):
        assert time.perf_counter() - begin < LATEST_SECONDS
        time.sleep(0.05)
    rate = count / (time.perf_counter() - begin)
    spent = [_processor_seconds(pid) - was for pid, was in zip(processes.values(), before, strict=True)]
    grown = {kind: size - keys[kind] for kind, size in sorted(_keys(system).items())}
    return [
        _figure(f"{what}, {CLIENTS} clients", "a second", rate),
        *(_figure(f"{what}: processor time of {name}", "ms", 1000 * used / count) for name, used in zip(processes, spent, strict=True)),
        *(_figure(f"{what}: in Valkey, {kind}", "bytes", size / count) for kind, size in grown.items() if size >= count),
        _figure(f"{what}: Valkey's memory", "bytes", (_used_memory(system) - memory) / count),
    ]


def _processor_seconds(pid: int | None) -> float:
    """Of a process and all that it started, also what has ended."""
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:  # it ended just now
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _keys(system: QueueSystem) -> Counter[str]:
    """Bytes of Redis' keys by their kind: what precedes ids in their names."""
    sizes: Counter[str] = Counter()
    with system.redis() as redis:
        keys = list(redis.scan_iter(count=1000))
        with redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.execute_command("MEMORY", "USAGE", key, "SAMPLES", 0)
            for key, size in zip(keys, pipeline.execute(), strict=True):
                sizes[_kind(key.decode())] += size or 0
    return sizes


def _kind(key: str) -> str:
    return ":".join(part for part in key.split(":") if part.isascii() and part.replace("-", "").isalpha() and len(part) < 30)


def _used_memory(system: QueueSystem) -> int:
    with system.redis() as redis:
        return int(redis.info("memory")["used_memory"])


def _sockets(system: QueueSystem, devices: Sequence[Device]) -> list[Measurement]:
    """WebSockets that hear nothing: what they take of memory and, with pings and looks at their devices, of processor time."""
    time.sleep(5)  # whatever else there was to do is done
    gateway = psutil.Process(system.gateways[0].process.pid)
    idle = _idle(system)
    resident = gateway.memory_info().rss
    with_sockets, gateway_share, postgres_share = asyncio.run(_listening(system, devices))
    count = len(devices) * SOCKETS
    return [
        _figure("memory of the gateway without sockets", "MB", resident / 1e6),
        _figure("memory of the gateway for each open WebSocket", "KiB", (with_sockets - resident) / count / 1024),
        _figure("1,000 idle WebSockets: processor time of the gateway", "% of a core", 100_000 / count * (gateway_share - idle[0])),
        _figure("1,000 idle WebSockets: processor time of PostgreSQL", "% of a core", 100_000 / count * (postgres_share - idle[1])),
    ]


async def _listening(system: QueueSystem, devices: Sequence[Device]) -> tuple[int, float, float]:
    """The gateway's memory in bytes, and what `_idle` says, while all these sockets are open."""
    address = system.url.replace("http", "ws", 1) + "/api/events"
    sockets: list[ClientConnection] = []
    for device in devices:
        headers = {"Authorization": f"Bearer {device.token}"}
        sockets += await asyncio.gather(
            *(connect(address, additional_headers=headers, compression=None, ping_interval=None) for _ in range(SOCKETS))
        )
    await asyncio.sleep(5)
    resident = int(psutil.Process(system.gateways[0].process.pid).memory_info().rss)
    gateway, postgres = await asyncio.to_thread(_idle, system)
    await asyncio.gather(*(socket.close() for socket in sockets))
    return resident, gateway, postgres


def _idle(system: QueueSystem) -> tuple[float, float]:
    """Shares of a core that the gateway and PostgreSQL use while nobody asks for anything."""
    pids = (system.gateways[0].process.pid, system.postgres.pid)
    before, begin = [_processor_seconds(pid) for pid in pids], time.perf_counter()
    time.sleep(IDLE_SECONDS)
    passed = time.perf_counter() - begin
    gateway, postgres = ((_processor_seconds(pid) - was) / passed for pid, was in zip(pids, before, strict=True))
    return gateway, postgres


def _figure(what: str, unit: str, value: float) -> Measurement:
    return Measurement(what=what, unit=unit, ours=[value])
