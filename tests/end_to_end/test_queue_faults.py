"""Queued drafts while everything dies: what was accepted is written, once, and told, once."""

import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest
from websockets.exceptions import WebSocketException

from tests.factories import Device
from tests.fixtures.queue_system import QueueSystem
from tests.fixtures.waiting import PATIENCE_SECONDS, START_SECONDS, eventually
from tests.gateway.events.readers import listening
from tests.gateway.responses.situations import ask_later, drafted, queued, read, received

CLIENTS = 4
LATEST_SECONDS = 300
"""By when a draft is accepted in spite of the deaths. On a slow machine each costs as long as a start."""


@pytest.fixture
def owner(queue_system: QueueSystem) -> Device:
    """A device of a new account."""
    return queue_system.new_device()


class Watcher(threading.Thread):
    """A client app: listens on any gateway, and when the connection breaks comes back with the last event that it has."""

    def __init__(self, system: QueueSystem, device: Device) -> None:
        super().__init__(daemon=True)
        self.completed: Counter[str] = Counter()
        self.connections = 0
        self._urls = itertools.cycle([gateway.url for gateway in system.gateways])
        self._token = device.token
        self._last = "0"
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.is_set():
            try:
                with listening(next(self._urls), self._token, f"?after={self._last}", open_timeout=10, close_timeout=1) as socket:
                    self.connections += 1
                    while not self._done.is_set():
                        self._take(json.loads(socket.recv(timeout=20)))
            except (OSError, WebSocketException):
                time.sleep(0.2)

    def _take(self, event: dict[str, object]) -> None:
        self._last = str(event["id"])
        if event["type"] == "response:completed":
            data = event["data"]
            assert isinstance(data, dict)
            self.completed[data["responseId"]] += 1

    def stop(self) -> None:
        self._done.set()
        self.join(timeout=PATIENCE_SECONDS)


def accept_for_sure(system: QueueSystem, device: Device, message_id: str) -> str:
    """Ask for one draft until some gateway says that it is accepted."""
    key = {"Idempotency-Key": uuid4().hex}
    devices = itertools.cycle([device, system.elsewhere(device)])
    deadline = time.monotonic() + LATEST_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = ask_later(next(devices), message_id, headers=key)
        except httpx.TransportError:
            time.sleep(0.1)
            continue
        if answer.status_code == 202:
            return str(answer.json()["responseId"])
        assert answer.status_code in (409, 503), answer.text
        time.sleep(0.5)
    raise AssertionError("no gateway accepted a draft")


@contextmanager
def clients(system: QueueSystem, device: Device, count: int, *, pause: float) -> Iterator[list[Future[str]]]:
    """Several clients ask for drafts meanwhile, each one after the other."""
    message_id = received(device)

    def ask(_: int) -> str:
        time.sleep(random.uniform(0, 2 * pause))
        return accept_for_sure(system, device, message_id)

    with ThreadPoolExecutor(CLIENTS) as pool:
        yield [pool.submit(ask, number) for number in range(count)]


def wait_for_all(device: Device, response_ids: Sequence[str], seconds: float = LATEST_SECONDS) -> None:
    """Until none of the account's drafts is open, and these are completed."""

    def open_drafts() -> int:
        pages = [device.client.get("/api/responses", params={"status": status}) for status in ("queued", "generating")]
        return sum(int(page.json()["total"]) for page in pages)

    eventually(lambda: open_drafts() == 0, seconds)
    assert Counter(read(device, response_id)["status"] for response_id in response_ids) == {"completed": len(response_ids)}


def assert_each_told_once(system: QueueSystem, device: Device, response_ids: Sequence[str]) -> None:
    def completed() -> Counter[str]:
        return Counter(response_id for name, response_id in system.told(device) if name == "response:completed")

    eventually(lambda: set(completed()) >= set(response_ids))
    time.sleep(0.5)  # what comes twice comes later
    assert {response_id: count for response_id, count in completed().items() if count > 1} == {}


@pytest.mark.parametrize(
    ("drafts", "worker_kills", "gateway_kills"), [(60, 3, 1), pytest.param(200, 20, 5, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_drafts_while_workers_gateways_and_valkey_are_killed(
    owner: Device, queue_system: QueueSystem, drafts: int, worker_kills: int, gateway_kills: int
) -> None:
    watcher = Watcher(queue_system, owner)
    watcher.start()
    deaths: list[Callable[[], None]] = [_death_of_worker(queue_system, number) for number in range(worker_kills)]
    deaths += [_death_of_gateway(queue_system, number) for number in range(gateway_kills)]
    deaths += [lambda: _death_of_valkey(queue_system)]
    random.Random(7).shuffle(deaths)

    with queue_system.ml.paced(0.15), clients(queue_system, owner, drafts, pause=0.4) as asked:
        eventually(lambda: owner.client.get("/api/responses", params={"status": "generating"}).json()["total"] > 0)
        for die in deaths:
            die()
        response_ids = [each.result(timeout=LATEST_SECONDS) for each in asked]
    for gateway in queue_system.gateways:
        gateway.process.wait_until(gateway.ready, timeout=START_SECONDS)

    assert len(set(response_ids)) == drafts
    wait_for_all(owner, response_ids)
    assert owner.client.get("/api/responses", params={"status": "completed"}).json()["total"] == drafts
    assert_each_told_once(queue_system, owner, response_ids)
    eventually(lambda: set(watcher.completed) >= set(response_ids))
    watcher.stop()
    assert max(watcher.completed.values()) == 1
    assert watcher.connections > 1


def _death_of_worker(system: QueueSystem, number: int) -> Callable[[], None]:
    def die() -> None:
        worker = system.workers[number % len(system.workers)]
        worker.kill()
        worker.start()

    return die


def _death_of_gateway(system: QueueSystem, number: int) -> Callable[[], None]:
    def die() -> None:
        gateway = system.gateways[number % len(system.gateways)]
        gateway.kill()
        gateway.start()

    return die


def _death_of_valkey(system: QueueSystem) -> None:
    system.valkey.kill()
    time.sleep(1)
    system.valkey.start()


def test_the_ml_service_is_killed_and_comes_back(owner: Device, queue_system: QueueSystem) -> None:
    message_id = received(owner)
    queue_system.ml.pace(0.3)  # until it is killed
    response_ids = [queued(owner, message_id) for _ in range(20)]
    eventually(lambda: owner.client.get("/api/responses", params={"status": "generating"}).json()["total"] > 0)

    queue_system.ml.kill()
    refused = ask_later(owner, message_id)
    queue_system.ml.start()

    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    wait_for_all(owner, response_ids)
    assert_each_told_once(queue_system, owner, response_ids)


def test_redis_is_gone(owner: Device, queue_system: QueueSystem) -> None:
    message_id = received(owner)
    with queue_system.ml.paced(0.1):
        response_ids = [queued(owner, message_id) for _ in range(10)]
        queue_system.valkey.kill()
        try:
            refused = ask_later(owner, message_id)
            waited_for = drafted(owner, message_id)
            time.sleep(2)
        finally:
            queue_system.valkey.start()

    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    assert waited_for["status"] == "completed"
    eventually(lambda: ask_later(owner, message_id).status_code == 202)
    wait_for_all(owner, response_ids)
    assert_each_told_once(queue_system, owner, response_ids)


def test_postgres_is_gone_while_results_come(owner: Device, queue_system: QueueSystem) -> None:
    message_id = received(owner)
    with queue_system.ml.paced(0.1):
        response_ids = [queued(owner, message_id) for _ in range(10)]
        queue_system.postgres.kill()
        try:
            refused = ask_later(owner, message_id)
            time.sleep(3)
        finally:
            queue_system.postgres.start()

    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    eventually(lambda: owner.client.get("/api/responses").status_code == 200)
    wait_for_all(owner, response_ids)
    assert_each_told_once(queue_system, owner, response_ids)
