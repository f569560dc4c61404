"""How many drafts may wait, and whose turn it is."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.factories import Device, device_with
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.queue_system import QueueSystem
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.waiting import ENGINE_SECONDS, eventually
from tests.gateway.responses.situations import ask_later, drafted, ended, queued, read, received

GREEDY = 300
AT_ONCE = 16
"""Drafts that the workers write at the same time."""


@pytest.fixture
def owner(queue_system: QueueSystem) -> Device:
    """A device of a new account."""
    return queue_system.new_device()


@pytest.fixture
def narrow_gateway(queue_system: QueueSystem, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway on the same data before an ML service whose queue has room for three jobs of an account."""
    ml = ScriptedMlService(tmp_path, queue_system.valkey.url, max_queued_jobs_per_scope="3")
    gateway = gateway_before(queue_system, tmp_path, ml.url)
    ml.start()
    gateway.start()
    yield gateway
    gateway.stop()
    ml.stop()


def gateway_before(system: QueueSystem, folder: Path, ml_service_url: str) -> GatewayProcess:
    return GatewayProcess(folder, database_url=system.postgres.url, redis_url=system.valkey.url, ml_service_url=ml_service_url)


def refused(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0


def test_a_full_queue_refuses(owner: Device, queue_system: QueueSystem, narrow_gateway: GatewayProcess) -> None:
    device = device_with(narrow_gateway.url, owner.token, owner.refresh_token)
    message_id = received(device)
    key = {"Idempotency-Key": "once there is room"}
    with queue_system.without_workers():
        accepted = [queued(device, message_id) for _ in range(3)]
        answer = ask_later(device, message_id, headers=key)
        assert refused(answer), answer.text
        assert drafted(device, message_id)["status"] == "completed"

    for response_id in accepted:
        assert ended(device, response_id)["status"] == "completed"
    drafts = device.client.get("/api/responses", params={"status": "failed"}).json()["responses"]
    assert [draft["error"] for draft in drafts] == [answer.json()["message"]]
    assert ask_later(device, message_id, headers=key).status_code == 202


def test_without_an_ml_service_nothing_is_pretended(owner: Device, queue_system: QueueSystem, tmp_path: Path) -> None:
    gateway = gateway_before(queue_system, tmp_path, f"http://127.0.0.1:{free_port()}")
    gateway.start()
    try:
        device = device_with(gateway.url, owner.token, owner.refresh_token)
        assert refused(ask_later(device, received(device)))
        (draft,) = device.client.get("/api/responses").json()["responses"]
        assert draft["status"] == "failed"
    finally:
        gateway.stop()


def test_one_account_with_hundreds_of_drafts_does_not_hold_up_another(owner: Device, queue_system: QueueSystem) -> None:
    greedy = queue_system.new_device()
    message_id = received(greedy)
    with queue_system.ml.paced(0.05):
        with queue_system.without_workers(), ThreadPoolExecutor(8) as pool:
            accepted = list(pool.map(lambda _: queued(greedy, message_id), range(GREEDY)))
        assert len(set(accepted)) == GREEDY
        eventually(lambda: greedy.client.get("/api/responses", params={"status": "completed"}).json()["total"] > AT_ONCE)

        begin = time.monotonic()
        modest = [queued(owner, received(owner)) for _ in range(5)]
        eventually(lambda: all(read(owner, response_id)["status"] == "completed" for response_id in modest))
        seconds = time.monotonic() - begin
        waiting = greedy.client.get("/api/responses", params={"status": "queued"}).json()["total"]

    assert waiting > GREEDY / 2, f"there was no crowd any more after {seconds:.1f} s"
    eventually(
        lambda: greedy.client.get("/api/responses", params={"status": "completed"}).json()["total"] == GREEDY, seconds=ENGINE_SECONDS
    )
