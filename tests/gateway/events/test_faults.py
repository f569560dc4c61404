"""Redis dies under open sockets."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.servers import Server, running_valkey
from tests.fixtures.waiting import WITHIN_A_SECOND
from tests.gateway.events.readers import listening, named, numbers_of, publish, received, rest_of, streaming


@pytest.fixture(scope="module")
def folder(run_folder: Path) -> Path:
    folder = run_folder / "fragile"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def fragile_valkey(folder: Path) -> Iterator[Server]:
    with running_valkey(folder) as server:
        yield server


@pytest.fixture(scope="module")
def gateways(folder: Path, database_url: str, fragile_valkey: Server) -> Iterator[list[GatewayProcess]]:
    """Two on a Valkey of their own."""
    processes = [
        GatewayProcess(folder, database_url=database_url, redis_url=fragile_valkey.url, ml_service_url=f"http://127.0.0.1:{free_port()}")
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    yield processes
    for process in processes:
        process.stop()


def batch(number: int) -> dict[str, object]:
    return {
        "conversationImessageId": f"thread-{number}",
        "participantIds": ["sam@example.com"],
        "messages": [
            {
                "imessageGuid": f"guid-{number}",
                "senderId": "sam@example.com",
                "direction": "incoming",
                "messageType": "text",
                "text": "Hello!",
                "sentAt": "2026-01-01T12:00:00Z",
            }
        ],
    }


def test_sockets_outlive_redis_and_miss_nothing(gateways: list[GatewayProcess], fragile_valkey: Server) -> None:
    here, there = gateways
    owner: Device = paired_device(here.url)
    with (
        listening(here.url, owner.token) as socket,
        listening(there.url, owner.token) as far,
        streaming(there.url, owner.token) as stream,
    ):
        events = named(stream)
        publish(fragile_valkey.url, owner.account_id, [1, 2])
        assert numbers_of(received(socket, 2)) == [1, 2]

        fragile_valkey.kill()
        # A batch that is synced meanwhile is stored and acknowledged; its event waits.
        begin = time.monotonic()
        assert owner.client.post("/api/sync/messages", json=batch(1)).status_code == 200
        assert time.monotonic() - begin < WITHIN_A_SECOND
        with pytest.raises(InvalidStatus) as refused, listening(here.url, owner.token):
            pass
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"]
        fragile_valkey.start()

        assert received(socket)[0]["data"]["created"] == 1
        publish(fragile_valkey.url, owner.account_id, [3])
        assert numbers_of(received(socket)) == [3]
        assert [event["type"] for event in received(far, 4)] == ["sync:completed"] * 4
        assert len([next(events) for _ in range(4)]) == 4


def test_who_is_shut_out_while_redis_is_away_gets_nothing_more(gateways: list[GatewayProcess], fragile_valkey: Server) -> None:
    here, there = gateways
    owner = paired_device(here.url)
    lost = paired_device(here.url, owner)
    with listening(there.url, lost.token) as socket:
        fragile_valkey.kill()
        begin = time.monotonic()
        assert owner.client.post(f"/api/devices/{lost.device_id}/deactivate").status_code == 200

        events, code = rest_of(socket)
    fragile_valkey.start()

    assert (events, code) == ([], 4403)
    assert time.monotonic() - begin < WITHIN_A_SECOND
