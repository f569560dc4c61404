"""Queued drafts through one gateway: how soon one is accepted and begins, and how fast a long queue becomes drafts in the database."""

import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from shared.redis_events import EVENT_FIELD, JOB_EVENTS
from tests.benchmarks.measure import Measurement
from tests.factories import Device
from tests.fixtures.database import rows
from tests.fixtures.queue_system import QueueSystem, running_queue_system
from tests.fixtures.redis_client import Redis
from tests.gateway.events.readers import listening
from tests.gateway.responses.situations import queued, received

WARM_UP = 20
ALONE = 100
TOGETHER = 1000
CLIENTS = 8
LATEST_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Delays:
    """Milliseconds, over one round."""

    accepted_p50: float
    begun_p50: float
    begun_p99: float


def measure(folder: Path, rounds: int) -> list[Measurement]:
    """All of it, on a scripted engine that answers at once; about 20 s a round."""
    ours: list[Delays] = []
    theirs: list[Delays] = []
    drained: list[float] = []
    worked: list[float] = []
    taken_in: list[float] = []
    with running_queue_system(folder / "queued", gateways=1, workers=1) as system:
        device = system.new_device()
        message_id = received(device)
        rows(system.postgres.url, "analyze")  # as autovacuum does within a minute
        for number in range(rounds + 1):
            few = number == 0
            through_gateway = through(system, device, message_id, WARM_UP if few else ALONE)
            _signal_gateway(system, signal.SIGSTOP)  # it would take the events off the stream
            without_gateway = straight(system, WARM_UP if few else ALONE)
            _signal_gateway(system, signal.SIGCONT)
            if few:
                continue
            ours.append(through_gateway)
            theirs.append(without_gateway)
            drained.append(drain(system, device, message_id))
            jobs, drafts = drain_apart(system, device, message_id)
            worked.append(jobs)
            taken_in.append(drafts)
    straight_to = "straight to the ML service, its event on the stream"
    return [
        Measurement(
            what="queued draft, asked to accepted (202), p50", unit="ms", ours=[each.accepted_p50 for each in ours],
            against="straight to the ML service", theirs=[each.accepted_p50 for each in theirs],
        ),
        Measurement(
            what="queued draft, asked to `response:generating` on a WebSocket, p50", unit="ms", ours=[each.begun_p50 for each in ours],
            against=straight_to, theirs=[each.begun_p50 for each in theirs],
        ),
        Measurement(
            what="queued draft, asked to `response:generating` on a WebSocket, p99", unit="ms", ours=[each.begun_p99 for each in ours],
            against=straight_to, theirs=[each.begun_p99 for each in theirs],
        ),
        Measurement(
            what="queue drained into the database, one worker, one gateway", unit="drafts/s", ours=drained,
            against="the same worker, while the gateway stands still", theirs=worked,
        ),
        Measurement(what="results taken in by one gateway alone", unit="drafts/s", ours=taken_in),
    ]  # fmt: skip


def through(system: QueueSystem, device: Device, message_id: str, count: int) -> Delays:
    """One draft after the other, heard of on a WebSocket."""
    accepted, begun = [], []
    headers = {"Authorization": f"Bearer {device.token}", "Prefer": "respond-async", "Cache-Control": "no-cache"}
    with listening(system.url, device.token) as socket, httpx.Client(base_url=system.url, headers=headers) as client:
        for _ in range(count):
            begin = time.perf_counter()
            answer = client.post("/api/responses/generate", json={"messageId": message_id})
            accepted.append(time.perf_counter() - begin)
            assert answer.status_code == 202, answer.text
            while json.loads(socket.recv(timeout=10))["type"] != "response:generating":
                pass
            begun.append(time.perf_counter() - begin)
            while json.loads(socket.recv(timeout=10))["type"] != "response:completed":
                pass
    return _delays(accepted, begun)


def straight(system: QueueSystem, count: int) -> Delays:
    """The same without a gateway: the job's own event."""
    accepted, begun = [], []
    body = {"messages": [{"role": "user", "content": "Dinner on Friday?"}], "scope": "benchmark", "use_cache": False}
    with system.redis() as redis, httpx.Client(base_url=system.ml.url) as client:
        for _ in range(count):
            last = _newest(redis)
            begin = time.perf_counter()
            answer = client.post("/generate/async", json=body)
            accepted.append(time.perf_counter() - begin)
            assert answer.status_code == 202, answer.text
            last = _wait_for(redis, last, "generating")
            begun.append(time.perf_counter() - begin)
            _wait_for(redis, last, "completed")
    return _delays(accepted, begun)


def drain(system: QueueSystem, device: Device, message_id: str) -> float:
    """Drafts a second from the queue's start until the last row is written."""
    with system.without_workers():
        _fill(device, message_id)
    return _rate(lambda: _open_drafts(system) == 0)


def drain_apart(system: QueueSystem, device: Device, message_id: str) -> tuple[float, float]:
    """Jobs a second that the worker does while the gateway stands still, and then results a second that the gateway takes in."""
    with system.without_workers():
        _fill(device, message_id)
        _signal_gateway(system, signal.SIGSTOP)
    with system.redis() as redis:
        jobs = _rate(lambda: redis.zcard("jobs:generation:open") == 0)
    _signal_gateway(system, signal.SIGCONT)
    return jobs, _rate(lambda: _open_drafts(system) == 0)


def _signal_gateway(system: QueueSystem, number: signal.Signals) -> None:
    pid = system.gateways[0].process.pid
    assert pid is not None
    os.kill(pid, number)


def _fill(device: Device, message_id: str) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda _: queued(device, message_id), range(TOGETHER)))


def _rate(done: Callable[[], bool]) -> float:
    """Drafts a second until all of them are done."""
    begin = time.perf_counter()
    while not done():
        assert time.perf_counter() - begin < LATEST_SECONDS
        time.sleep(0.02)
    return TOGETHER / (time.perf_counter() - begin)


def _open_drafts(system: QueueSystem) -> int:
    (row,) = rows(system.postgres.url, "select count(*) as open from response where request is not null")
    return int(row["open"])


def _newest(redis: Redis) -> str:
    info: Any = redis.xinfo_stream(JOB_EVENTS)
    return str(info["last-generated-id"].decode())


def _wait_for(redis: Redis, last: str, event_type: str) -> str:
    """Wait for an event of a type; returns where it is."""
    while True:
        read: Any = redis.xread({JOB_EVENTS: last}, count=1, block=10_000)
        for entry_id, fields in read[0][1]:
            last = entry_id
            if json.loads(fields[EVENT_FIELD.encode()])["type"] == event_type:
                return last


def _delays(accepted: Sequence[float], begun: Sequence[float]) -> Delays:
    return Delays(
        accepted_p50=statistics.median(accepted) * 1000,
        begun_p50=statistics.median(begun) * 1000,
        begun_p99=statistics.quantiles(begun, n=100, method="inclusive")[98] * 1000,
    )
