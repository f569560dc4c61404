"""Streams that the gateway ends: at once, on every gateway, and with a reason."""

import json
import signal
import time
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import ClientConnection

from tests.factories import Device, paired_device
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import WITHIN_A_SECOND
from tests.gateway.events.readers import listening, named, publish, received, rest_of, streaming, token_for


def closing(socket: ClientConnection) -> tuple[int | None, float]:
    """The close code, and in how many seconds it came."""
    begin = time.monotonic()
    _, code = rest_of(socket)
    return code, time.monotonic() - begin


def test_a_deactivated_device_is_shut_out_everywhere_within_a_second(
    gateway: GatewayProcess, replica: GatewayProcess, owner: Device
) -> None:
    lost = paired_device(gateway.url, owner)
    with (
        listening(gateway.url, owner.token) as stays,
        listening(gateway.url, lost.token) as here,
        listening(replica.url, lost.token) as there,
        streaming(replica.url, lost.token) as stream,
    ):
        next(stream)
        owner.client.post(f"/api/devices/{lost.device_id}/deactivate")

        (told,) = received(stays)
        assert (told["type"], told["data"]) == ("device:deactivated", {"deviceId": str(lost.device_id)})
        for socket in (here, there):
            code, seconds = closing(socket)
            assert code == 4403
            assert seconds < WITHIN_A_SECOND
        *before, closed = [event["event"] for event in named(stream)]
        assert closed == "stream:closed"
        assert before in ([], ["device:deactivated"])  # the gateway may have seen it in the database before it was told
        with pytest.raises(TimeoutError):
            stays.recv(timeout=0.6)  # the other device's own goes on


def test_a_device_that_was_shut_out_while_nobody_could_say_so_is_found(gateway: GatewayProcess, owner: Device, database_url: str) -> None:
    with listening(gateway.url, owner.token) as socket:
        rows(database_url, "update device set status = 'deactivated' where id = $1", owner.device_id)

        code, seconds = closing(socket)

    assert code == 4403
    assert seconds < WITHIN_A_SECOND


def test_a_device_that_is_paired_anew_needs_its_newer_token(gateway: GatewayProcess, owner: Device, database_url: str) -> None:
    with listening(gateway.url, owner.token) as socket:
        rows(database_url, "update device set tokens_valid_after = now() where id = $1", owner.device_id)

        assert closing(socket)[0] == 4401


def test_a_deleted_account_has_no_readers_and_no_events(
    gateway: GatewayProcess, replica: GatewayProcess, owner: Device, redis: object
) -> None:
    with listening(gateway.url, owner.token) as here, listening(replica.url, owner.token) as there:
        owner.client.request("DELETE", "/api/account", json={"confirm": str(owner.account_id)})

        for socket in (here, there):
            code, seconds = closing(socket)
            assert code == 4401
            assert seconds < WITHIN_A_SECOND


def test_a_stream_ends_with_its_token(gateway: GatewayProcess, owner: Device) -> None:
    token = token_for(owner, seconds=4)
    expires_at = int(time.time()) + 4
    with listening(gateway.url, token) as socket, streaming(gateway.url, token) as stream:
        code, _ = closing(socket)
        late = time.time() - expires_at
        (closed,) = named(stream)

    assert code == 4401
    assert late < WITHIN_A_SECOND
    assert json.loads(closed["data"])["data"] == {"code": 4401, "reason": json.loads(closed["data"])["data"]["reason"]}


def test_a_gateway_that_stops_says_so(run_folder: Path, database_url: str, redis_url: str, owner: Device) -> None:
    process = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=f"http://127.0.0.1:{free_port()}")
    process.start()
    with listening(process.url, owner.token) as socket, streaming(process.url, owner.token) as stream:
        next(stream)
        publish(redis_url, owner.account_id, [1])
        received(socket)  # the gateway has it, for both
        process.stop()

        assert closing(socket)[0] == 1001
        *events, closed = named(stream)

    assert process.process.exit_code != -signal.SIGKILL  # it has not waited for its readers until it was killed
    assert [event["event"] for event in events] == ["sync:completed"]
    assert '"code":1001' in closed["data"]
    with pytest.raises(httpx.HTTPError):
        httpx.get(process.url)


def test_a_slow_reader_is_dropped_while_others_go_on(gateway: GatewayProcess, owner: Device, redis_url: str) -> None:
    with listening(gateway.url, owner.token, max_queue=1) as slow, listening(gateway.url, owner.token) as fast:
        for first in range(0, 160, 10):  # so few that they may all wait for the fast one
            publish(redis_url, owner.account_id, range(first, first + 10), size=100_000)
            assert [event["data"]["number"] for event in received(fast, 10)] == list(range(first, first + 10))

        read, code = rest_of(slow)
        assert code == 4408

        numbers = [event["data"]["number"] for event in read]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) < 160
        with listening(gateway.url, owner.token, f"?after={read[-1]['id']}", close_timeout=0.1) as again:
            assert received(again)[0]["data"]["number"] == len(numbers)
