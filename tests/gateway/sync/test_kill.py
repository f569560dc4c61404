"""Syncing while the gateway and PostgreSQL are killed: what was acknowledged is there, once, and nothing is there in part."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from deploy.local.servers import EmbeddedPostgres
from gateway.database import migrate
from tests.factories import Device, message, paired_device, thread
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually

CLIENTS = 4
BATCH = 40


@dataclass(frozen=True)
class Own:
    """A gateway and a PostgreSQL that a test may kill."""

    postgres: EmbeddedPostgres
    gateway: GatewayProcess


@pytest.fixture(scope="module")
def own(run_folder: Path, redis_url: str) -> Iterator[Own]:
    folder = run_folder / "sync-kills"
    folder.mkdir()
    postgres = EmbeddedPostgres(folder / "postgres", folder / "postgres.log")
    postgres.start()
    asyncio.run(migrate(postgres.url))
    gateway = GatewayProcess(
        folder, database_url=postgres.url, redis_url=redis_url, ml_service_url=f"http://127.0.0.1:{free_port()}", log_level="warning"
    )
    gateway.start()
    yield Own(postgres, gateway)
    gateway.stop()
    postgres.stop()


@dataclass
class Client:
    """Sends batch after batch to a thread of its own, each until it is acknowledged. Half of a batch is of the batch before."""

    device: Device
    name: str
    sent: list[list[str]] = field(default_factory=list)
    acknowledged: list[list[str]] = field(default_factory=list)
    retries: int = 0

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            guids = [uuid4().hex for _ in range(BATCH)]
            known = self.acknowledged[-1][::2] if self.acknowledged else []
            self.sent.append(guids)
            if self._send([message(guid) for guid in [*guids, *known]], stop):
                self.acknowledged.append(guids)

    def _send(self, messages: list[dict[str, object]], stop: threading.Event) -> bool:
        while True:
            try:
                answer = self.device.client.post("/api/sync/messages", json=thread(messages, self.name), timeout=PATIENCE_SECONDS)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 200:
                return True
            assert answer is None or answer.status_code == 503, answer.text
            if stop.is_set():
                return False
            self.retries += 1
            time.sleep(0.05)


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_nothing_acknowledged_is_lost_and_nothing_is_there_twice(own: Own, kills: int) -> None:
    """With so many kills of each."""
    device = paired_device(own.gateway.url)
    clients = [Client(device, uuid4().hex) for _ in range(CLIENTS)]
    chance = random.Random(7)
    stop = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(client.run, stop) for client in clients]
        try:
            for _ in range(kills):
                for server in (own.gateway, own.postgres):
                    time.sleep(chance.uniform(0.05, 0.4))
                    server.kill()
                    server.start()
            known = [len(client.acknowledged) for client in clients]
            eventually(lambda: all(len(client.acknowledged) > count for client, count in zip(clients, known, strict=True)))
        finally:
            stop.set()
        for each in running:
            each.result()

    assert sum(client.retries for client in clients) >= kills
    for client in clients:
        query = "select imessage_guid from message join conversation c on c.id = conversation_id where c.imessage_id = $1"
        stored = [row["imessage_guid"] for row in rows(own.postgres.url, query, client.name)]
        there = set(stored)
        assert len(stored) == len(there)
        assert client.acknowledged
        assert {guid for batch in client.acknowledged for guid in batch} <= there
        assert {len(there.intersection(batch)) for batch in client.sent} <= {0, BATCH}
        [conversation] = rows(own.postgres.url, "select message_count from conversation where imessage_id = $1", client.name)
        assert conversation["message_count"] == len(stored)


def test_without_postgres_it_says_when_to_retry_and_recovers_by_itself(own: Own) -> None:
    device = paired_device(own.gateway.url)
    body = thread([message("m")])
    own.postgres.kill()

    away = device.client.post("/api/sync/messages", json=body)
    own.postgres.start()
    back = device.client.post("/api/sync/messages", json=body)

    assert away.status_code == 503
    assert int(away.headers["Retry-After"]) >= 1
    assert "Traceback" not in away.text
    assert back.status_code == 200
    assert back.json()["created"] == 1
