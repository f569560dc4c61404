"""Parts die under load, and come back."""

import asyncio

import httpx
import pytest

from tests.end_to_end.client import draft, draft_events, synced_thread
from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ml_service import MlServiceProcess
from tests.fixtures.servers import Server
from tests.fixtures.waiting import ENGINE_SECONDS, PATIENCE_SECONDS, eventually


def test_the_engine_is_killed_in_the_middle_of_a_draft(device: Device, model_service: MlServiceProcess) -> None:
    message_id = synced_thread(device)
    events = draft_events(device, message_id, max_tokens=500)
    first, _ = next(events)

    model_service.kill_engine()
    rest = list(events)

    assert first == "token"
    assert [name for name, _ in rest if name != "token"] == ["failed"]
    assert rest[-1][1]["statusCode"] == 503

    refused = draft(device, message_id, temperature=0.1)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert {row["status"] for row in device.client.get("/api/responses").json()["responses"]} == {"failed"}

    model_service.wait_ready()
    assert draft(device, message_id).status_code == 200


def test_queued_drafts_are_written_after_the_engine_is_back(device: Device, model_service: MlServiceProcess) -> None:
    message_id = synced_thread(device)
    body = {"messageId": message_id, "context": {"maxTokens": 60}}
    headers = {"Prefer": "respond-async", "Cache-Control": "no-cache"}
    accepted = [device.client.post("/api/responses/generate", json=body, headers=headers) for _ in range(8)]
    drafts = [answer.json()["responseId"] for answer in accepted]

    def statuses() -> set[str]:
        return {device.client.get(f"/api/responses/{draft_id}").json()["status"] for draft_id in drafts}

    assert [answer.status_code for answer in accepted] == [202] * 8
    eventually(lambda: "generating" in statuses())
    model_service.kill_engine()

    eventually(lambda: statuses() == {"completed"}, seconds=ENGINE_SECONDS)


def test_valkey_is_away(device: Device, valkey: Server, whole_system: GatewayProcess) -> None:
    message_id = synced_thread(device)
    valkey.kill()
    try:
        answers = [draft(device, message_id).json() for _ in range(2)]
        pairing = httpx.post(
            f"{whole_system.url}/api/devices/verify", json={"deviceId": str(device.device_id), "code": "000000"}, timeout=PATIENCE_SECONDS
        )
    finally:
        valkey.start()

    assert [answer["cached"] for answer in answers] == [False, False]
    assert pairing.status_code == 503
    assert "Retry-After" in pairing.headers
    eventually(lambda: bool(draft(device, message_id).json()["cached"]))


def test_postgres_is_away(device: Device, postgres: Server, whole_system: GatewayProcess) -> None:
    message_id = synced_thread(device)
    postgres.kill()
    try:
        refused = [device.client.get("/api/conversations"), draft(device, message_id)]
        health = httpx.get(f"{whole_system.url}/health/ready", timeout=PATIENCE_SECONDS)
    finally:
        postgres.start()

    assert [answer.status_code for answer in refused] == [503, 503]
    assert all("Retry-After" in answer.headers for answer in refused)
    assert health.json()["status"] == "unavailable"
    eventually(lambda: device.client.get("/api/conversations").status_code == 200)
    assert draft(device, message_id).status_code == 200


@pytest.mark.anyio
async def test_the_client_goes_away_and_the_engine_stops_writing(device: Device, model_service: MlServiceProcess) -> None:
    message_id = synced_thread(device)
    body = {"messageId": message_id, "n": 4, "context": {"maxTokens": 2000, "temperature": 2}}  # as hot as this it finds no end

    def running() -> int:
        with model_service.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return int(sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running{")))

    async with httpx.AsyncClient(base_url=device.client.base_url, headers=device.client.headers, timeout=60) as client:
        asking = asyncio.create_task(client.post("/api/responses/generate", json=body))
        await asyncio.to_thread(eventually, lambda: running() > 0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    await asyncio.to_thread(eventually, lambda: running() == 0)

    def statuses() -> list[str]:
        return [draft["status"] for draft in device.client.get("/api/responses").json()["responses"]]

    await asyncio.to_thread(eventually, lambda: statuses() == ["cancelled"])


def test_a_gateway_is_killed_in_the_middle_of_a_draft(
    device: Device, whole_system: GatewayProcess, model_service: MlServiceProcess
) -> None:
    message_id = synced_thread(device)
    events = draft_events(device, message_id, max_tokens=500)
    next(events)

    whole_system.kill()
    with pytest.raises(httpx.TransportError):
        list(events)
    whole_system.start()

    other = paired_device(whole_system.url, owner=device)
    assert draft(other, message_id).status_code == 200
