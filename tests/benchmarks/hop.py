"""The gateway's share of a draft: straight to an ML service that answers at once, and through the gateway, with the row stored."""

import asyncio
import itertools
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop

from deploy.local.processes import ChildProcess
from tests.benchmarks import plain_http
from tests.benchmarks.measure import Goal, Measurement, alternate
from tests.factories import Device, paired_device
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.processes import answers
from tests.fixtures.servers import own_servers

CLIENTS = 32
_HISTORY = 10
_WARM_UP = 200
_ALONE = 500
_TOGETHER = 3000


@dataclass(frozen=True, kw_only=True)
class HopSystem:
    """What runs: an instant ML service, one gateway process over it, and for each client a thread to answer in."""

    database_url: str
    ml_url: str
    gateway: GatewayProcess
    device: Device
    messages: list[str]


def measure(folder: Path, rounds: int) -> list[Measurement]:
    """Milliseconds that the gateway adds for one client, and requests a second for 32."""
    with running_hop(folder) as system:
        for target in (direct(system), through(system)):
            load(target, _WARM_UP, CLIENTS)
        rows(system.database_url, "analyze")  # as autovacuum does within seconds
        ours, theirs = alternate(rounds, lambda: alone(through(system)), lambda: alone(direct(system)))
        our_rate, their_rate = alternate(rounds, lambda: together(through(system)), lambda: together(direct(system)))
    return [
        Measurement(
            what="a draft through the gateway, row stored, 1 client, p50",
            unit="ms",
            ours=ours,
            against="straight to the same instant ML service",
            theirs=theirs,
            goal=Goal(rule="added at most", value=5),
        ),
        Measurement(
            what=f"drafts through one gateway process, rows stored, {CLIENTS} clients",
            unit="requests/s",
            ours=our_rate,
            against="straight to the same instant ML service",
            theirs=their_rate,
            goal=Goal(rule="at least", value=300),
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to send what: whole requests, as they go over the wire."""

    url: str
    requests: Sequence[bytes]


def direct(system: HopSystem) -> Target:
    turns = [{"role": "user", "content": f"Question {number}: what shall we bring for dinner?"} for number in range(_HISTORY)]
    return _target(f"{system.ml_url}/generate", {}, [{"messages": turns, "max_tokens": 256}])


def through(system: HopSystem) -> Target:
    headers = {"Authorization": f"Bearer {system.device.token}"}
    return _target(f"{system.gateway.url}/api/responses/generate", headers, [{"messageId": message} for message in system.messages])


def _target(url: str, headers: Mapping[str, str], bodies: Sequence[object]) -> Target:
    return Target(url=url, requests=[plain_http.post(url, body, headers) for body in bodies])


def alone(target: Target) -> float:
    """Median milliseconds a call of one client."""
    return statistics.median(load(target, _ALONE, 1)[0]) * 1000


def together(target: Target) -> float:
    """Calls a second of all clients together."""
    seconds, elapsed = load(target, _TOGETHER, CLIENTS)
    return len(seconds) / elapsed


def load(target: Target, calls: int, clients: int) -> tuple[list[float], float]:
    """Seconds of each call, and of all."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_load(target, calls, clients))


async def _load(target: Target, calls: int, clients: int) -> tuple[list[float], float]:
    seconds: list[float] = []
    left = iter(range(calls))
    requests = itertools.cycle(target.requests)

    async def client() -> None:
        reader, writer = await plain_http.connect(target.url)
        for _ in left:
            begin = time.perf_counter()
            await plain_http.ask(reader, writer, next(requests))
            seconds.append(time.perf_counter() - begin)
        writer.close()

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return seconds, time.perf_counter() - begin


@contextmanager
def running_hop(folder: Path) -> Iterator[HopSystem]:
    """Start everything, and stop it again."""
    with ExitStack() as stack:
        postgres, valkey = stack.enter_context(own_servers(folder / "hop"))
        ml_url = _start_instant_ml_service(stack, folder)
        gateway = GatewayProcess(folder, database_url=postgres.url, redis_url=valkey.url, ml_service_url=ml_url)
        stack.callback(gateway.stop)
        gateway.start()
        device = paired_device(gateway.url)
        messages = [_thread(device, number) for number in range(CLIENTS)]
        yield HopSystem(database_url=postgres.url, ml_url=ml_url, gateway=gateway, device=device, messages=messages)


def _start_instant_ml_service(stack: ExitStack, folder: Path) -> str:
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.instant_ml_service", str(port)]
    process = ChildProcess("instant ML service", command, log_path=folder / "instant-ml.log", environment=dict(os.environ))
    stack.callback(process.stop)
    process.start()
    url = f"http://127.0.0.1:{port}"
    process.wait_until(lambda: answers(url, timeout=1), timeout=30)
    return url


def _thread(device: Device, number: int) -> str:
    """A thread with a history; the id of its last message, which can be answered."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    messages = [
        {
            "imessageGuid": f"hop-{number}-{index}",
            "senderId": "sam@example.com" if index % 2 else "me",
            "direction": "incoming" if index % 2 else "outgoing",
            "messageType": "text",
            "text": f"Question {index}: what shall we bring for dinner?",
            "sentAt": (begin + timedelta(minutes=10 * index)).isoformat(),
        }
        for index in range(2 * _HISTORY)
    ]
    body = {"conversationImessageId": f"hop-{number}", "isGroup": False, "participantIds": ["sam@example.com"], "messages": messages}
    return str(device.client.post("/api/sync/messages", json=body).raise_for_status().json()["messages"][-1]["id"])
