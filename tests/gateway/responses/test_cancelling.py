"""POST /api/responses/:id/cancel, and drafts that lost their gateway."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from gateway.database import Database
from gateway.responses.results import fail_abandoned
from tests.factories import Device, device_with, paired_device, unheard_publisher
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.waiting import PATIENCE_SECONDS, WITHIN_A_SECOND, eventually
from tests.gateway.responses.situations import drafted, only_draft, read, received


@pytest.fixture
def another_gateway(run_folder: Path, database_url: str, redis_url: str, ml_service: ScriptedMlService) -> Iterator[GatewayProcess]:
    process = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=ml_service.url)
    process.start()
    yield process
    process.stop()


@contextmanager
def drafting(device: Device) -> Iterator[Future[httpx.Response]]:
    """Somebody waits for a draft that is being written: paced by 2, it would take 28 seconds."""
    body = {"messageId": received(device)}
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(device.client.post, "/api/responses/generate", json=body)
        eventually(lambda: device.client.get("/api/responses").json()["total"] == 1)
        yield waiting


def test_stops_the_draft_and_tells_who_waits(owner: Device, ml_service: ScriptedMlService) -> None:
    aborted = ml_service.aborted_before()
    with ml_service.paced(2), drafting(owner) as waiting:
        response_id = only_draft(owner)["responseId"]
        eventually(lambda: ml_service.running == 1)

        cancelled = owner.client.post(f"/api/responses/{response_id}/cancel")

        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        answer = waiting.result(timeout=WITHIN_A_SECOND)
        assert (answer.status_code, answer.json()["status"], answer.json()["response"]) == (200, "cancelled", None)
        eventually(lambda: ml_service.aborted == aborted + 1, WITHIN_A_SECOND)
    assert read(owner, response_id)["status"] == "cancelled"
    assert owner.client.post(f"/api/responses/{response_id}/cancel").json() == cancelled.json()


def test_stops_it_in_another_process(owner: Device, another_gateway: GatewayProcess, ml_service: ScriptedMlService) -> None:
    elsewhere = device_with(another_gateway.url, owner.token, owner.refresh_token)
    with ml_service.paced(2), drafting(owner) as waiting:
        elsewhere.client.post(f"/api/responses/{only_draft(elsewhere)['responseId']}/cancel")

        assert waiting.result(timeout=WITHIN_A_SECOND).json()["status"] == "cancelled"


def test_what_has_ended_is_not_cancelled(owner: Device) -> None:
    response_id = drafted(owner, received(owner))["responseId"]

    answer = owner.client.post(f"/api/responses/{response_id}/cancel")

    assert answer.status_code == 409
    assert read(owner, response_id)["status"] == "completed"


def test_a_strangers_draft_is_unknown(owner: Device, drafting_gateway: GatewayProcess) -> None:
    stranger = paired_device(drafting_gateway.url)
    response_id = drafted(owner, received(owner))["responseId"]

    assert stranger.client.post(f"/api/responses/{response_id}/cancel").status_code == 404
    assert stranger.client.get(f"/api/responses/{response_id}").status_code == 404
    assert stranger.client.get(f"/api/responses/{uuid4()}").status_code == 404
    assert stranger.client.get("/api/responses").json() == {"responses": [], "total": 0, "page": 1, "pageSize": 20}


def test_a_second_signal_ends_a_gateway_at_once(another_gateway: GatewayProcess, owner: Device, ml_service: ScriptedMlService) -> None:
    device = device_with(another_gateway.url, owner.token, owner.refresh_token)
    with ml_service.paced(2), drafting(device) as waiting:
        for _ in range(2):
            os.kill(another_gateway.process.pid or 0, signal.SIGTERM)
            time.sleep(0.2)  # two that are pending at the same time are one
        assert isinstance(waiting.exception(timeout=PATIENCE_SECONDS), httpx.TransportError)

    eventually(lambda: another_gateway.process.exit_code == 128 + signal.SIGTERM)


def test_a_killed_gateways_draft_does_not_stay_open(
    another_gateway: GatewayProcess, owner: Device, ml_service: ScriptedMlService, database_url: str
) -> None:
    device = device_with(another_gateway.url, owner.token, owner.refresh_token)
    with ml_service.paced(2), drafting(device) as waiting:
        another_gateway.kill()
        assert isinstance(waiting.exception(timeout=PATIENCE_SECONDS), httpx.TransportError)
    assert only_draft(owner)["status"] == "generating"

    asyncio.run(_sweep(database_url, timedelta(minutes=3)))
    assert only_draft(owner)["status"] == "generating"

    asyncio.run(_sweep(database_url, timedelta(0)))

    failed = only_draft(owner)
    assert (failed["status"], failed["response"]) == ("failed", None)
    assert failed["error"]


async def _sweep(database_url: str, longest_draft: timedelta) -> None:
    database = Database(database_url, 1)
    await database.open()
    await fail_abandoned(database, unheard_publisher(), longest_draft)
    await database.close()
