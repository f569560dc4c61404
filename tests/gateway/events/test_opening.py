"""Who may listen, and what those are told who may not."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.factories import NO_TLS, Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.gateway.events.readers import listening, publish, received, token_for


def refused(url: str, headers: dict[str, str] | None = None, path: str = "", **options: Any) -> tuple[int, dict[str, Any], Any]:
    """Status, body and headers of a handshake that fails."""
    address = url.replace("http", "ws", 1) + "/api/events" + path
    with pytest.raises(InvalidStatus) as caught, connect(address, additional_headers=headers, **options):
        pass
    answer = caught.value.response
    return answer.status_code, json.loads(answer.body or b"null"), answer.headers


BAD_TOKENS: dict[str, Callable[[Device], str]] = {
    "expired": lambda device: token_for(device, seconds=-1),
    "signed by somebody else": lambda device: token_for(device, key="z" * 32),
    "unsigned": lambda device: jwt.encode(jwt.decode(device.token, options={"verify_signature": False}), "", algorithm="none"),
    "no token at all": lambda _: "abc",
}


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_bad_token_opens_nothing(gateway: GatewayProcess, owner: Device, make: Callable[[Device], str]) -> None:
    token = make(owner)

    in_header = refused(gateway.url, {"Authorization": f"Bearer {token}"})
    in_subprotocol = refused(gateway.url, subprotocols=["bearer", token])
    stream = httpx.get(f"{gateway.url}/api/events/stream", headers={"Authorization": f"Bearer {token}"}, verify=NO_TLS)

    assert (in_header[0], in_subprotocol[0], stream.status_code) == (401, 401, 401)
    assert in_header[1]["error"] == "Unauthorized"
    assert in_header[2]["WWW-Authenticate"] == "Bearer"
    assert in_header[1]["requestId"] == in_header[2]["X-Request-Id"]


def test_no_token_opens_nothing(gateway: GatewayProcess) -> None:
    assert refused(gateway.url)[0] == 401
    assert refused(gateway.url, subprotocols=["bearer"])[0] == 401
    assert httpx.get(f"{gateway.url}/api/events/stream", verify=NO_TLS).status_code == 401


def test_a_deactivated_device_is_403(gateway: GatewayProcess, owner: Device) -> None:
    other = paired_device(gateway.url, owner)
    owner.client.post(f"/api/devices/{other.device_id}/deactivate")

    assert refused(gateway.url, {"Authorization": f"Bearer {other.token}"})[0] == 403


def test_browsers_send_the_token_as_a_subprotocol(gateway: GatewayProcess, owner: Device, redis_url: str) -> None:
    address = gateway.url.replace("http", "ws", 1) + "/api/events"
    with connect(address, subprotocols=["bearer", owner.token]) as socket:  # type: ignore[list-item]
        publish(redis_url, owner.account_id, [1])

        assert socket.subprotocol == "bearer"
        assert len(received(socket)) == 1


@pytest.mark.parametrize("query", ["after=yesterday", "after=1-2-3", "after=-1", "after=٣-0", "after=9999999999999999", "tokens=maybe"])
def test_what_cannot_be_read_is_400_and_named(gateway: GatewayProcess, owner: Device, query: str) -> None:
    headers = {"Authorization": f"Bearer {owner.token}"}

    status, body, _ = refused(gateway.url, headers, f"?{query}")
    stream = httpx.get(f"{gateway.url}/api/events/stream?{query}", headers=headers, verify=NO_TLS)

    assert (status, stream.status_code) == (400, 400)
    field = query.partition("=")[0]
    assert body["details"][0]["field"] == field
    assert stream.json()["details"][0]["field"] == field


def test_a_bad_last_event_id_is_400(gateway: GatewayProcess, owner: Device) -> None:
    headers = {"Authorization": f"Bearer {owner.token}", "Last-Event-ID": "yesterday"}

    assert httpx.get(f"{gateway.url}/api/events/stream", headers=headers, verify=NO_TLS).status_code == 400


def test_plain_http_is_told_where_to_go(gateway: GatewayProcess, owner: Device) -> None:
    answer = owner.client.get("/api/events")

    assert answer.status_code == 426
    assert answer.headers["Upgrade"] == "websocket"
    assert "/api/events/stream" in answer.json()["message"]


def test_what_a_client_says_is_not_listened_to(gateway: GatewayProcess, owner: Device, redis_url: str) -> None:
    with listening(gateway.url, owner.token) as socket:
        for word in ("ping", b"\x00\xff", '{"type":"response:completed"}'):
            socket.send(word)
        publish(redis_url, owner.account_id, [1])

        assert len(received(socket)) == 1


def test_the_log_knows_no_tokens(gateway: GatewayProcess, owner: Device) -> None:
    address = gateway.url.replace("http", "ws", 1) + f"/api/events?tokens=false&access_token={owner.token}"
    with connect(address, subprotocols=["bearer", owner.token], additional_headers={"X-Request-Id": "socket-1"}):  # type: ignore[list-item]
        pass
    refused(gateway.url, {"X-Request-Id": "socket-2"}, subprotocols=["bearer", owner.token[:-5]])

    log = gateway.log_with('"request_id":"socket-1"', '"request_id":"socket-2"')

    assert owner.token[:-5] not in log
    assert "access_token" not in log
