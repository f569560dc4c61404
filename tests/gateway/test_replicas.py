"""Three gateways and two replicas of the ML service, of which one after the other is killed: every draft that is asked for again comes."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.servers import Server
from tests.fixtures.waiting import PATIENCE_SECONDS
from tests.gateway.responses.situations import received

ACCOUNTS = 6
"""As many people draft all the while; their accounts are spread over the replicas."""
Killed = GatewayProcess | ScriptedMlService


class Fleet:
    def __init__(self, gateways: list[GatewayProcess], replicas: list[ScriptedMlService]) -> None:
        self.gateways = gateways
        self.replicas = replicas


@pytest.fixture
def fleet(run_folder: Path, own_database_url: str, valkey: Server) -> Iterator[Fleet]:
    with ExitStack() as stack:
        replicas = [ScriptedMlService(run_folder, valkey.url) for _ in range(2)]
        urls = ",".join(replica.url for replica in replicas)
        gateways = [GatewayProcess(run_folder, database_url=own_database_url, redis_url=valkey.url, ml_service_url=urls) for _ in range(3)]
        processes: list[Killed] = [*replicas, *gateways]
        for process in processes:
            stack.callback(process.stop)
            process.start()
        for replica in replicas:
            replica.pace(0.02)
        yield Fleet(gateways, replicas)


class Person:
    """Drafts one answer after the other, at whichever gateway answers, and keeps to one key until it is there."""

    def __init__(self, device: Device, gateways: list[GatewayProcess]) -> None:
        self.drafts = 0
        self.refusals = 0
        self.wrong: list[str] = []
        self._device = device
        self._urls = itertools.cycle([gateway.url for gateway in gateways])

    def draft_until(self, stop: threading.Event) -> None:
        with httpx.Client(headers=self._device.client.headers, timeout=PATIENCE_SECONDS) as client:
            while not stop.is_set():
                self._draft(client)

    def _draft(self, client: httpx.Client) -> None:
        body = {"messageId": received(self._device, text=f"Are you there, {uuid4().hex}?")}
        key, deadline = uuid4().hex, time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = client.post(f"{next(self._urls)}/api/responses/generate", json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:  # that gateway died
                self.refusals += 1
                continue
            if answer.status_code == 200:
                self.drafts += 1
                return
            if answer.status_code not in (409, 503):  # 409: the gateway that died holds the key for a moment
                self.wrong.append(f"{answer.status_code} {answer.text}")
                return
            self.refusals += 1
            time.sleep(0.2)
        self.wrong.append("never came")


def test_each_is_killed_once_and_no_draft_is_lost(fleet: Fleet) -> None:
    first = fleet.gateways[0]
    people = [Person(paired_device(first.url), fleet.gateways) for _ in range(ACCOUNTS)]
    stop = threading.Event()
    threads = [threading.Thread(target=person.draft_until, args=(stop,)) for person in people]
    for thread in threads:
        thread.start()
    try:
        for victim in (fleet.replicas[0], fleet.gateways[1], fleet.replicas[1], fleet.gateways[2]):
            time.sleep(1)
            victim.kill()
            time.sleep(1)
            victim.start()
        for replica in fleet.replicas:
            replica.pace(0)
        time.sleep(1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert [person.wrong for person in people] == [[]] * ACCOUNTS
    assert all(person.drafts > 3 for person in people), [person.drafts for person in people]
