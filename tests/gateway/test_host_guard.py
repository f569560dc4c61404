"""What a web page that somebody has open can make a browser send to the gateway: nothing that counts."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.factories import Device, calls_from, new_address, paired_device, registration
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import PATIENCE_SECONDS

PAGE = "https://app.example.org"


@pytest.fixture
def caller(gateway: GatewayProcess) -> httpx.Client:
    return calls_from(gateway.url, new_address())


@pytest.fixture(scope="module")
def open_gateway(run_folder: Path, database_url: str, redis_url: str) -> Iterator[GatewayProcess]:
    """A gateway with a name of its own, and a page elsewhere that may use it."""
    process = GatewayProcess(
        run_folder,
        database_url=database_url,
        redis_url=redis_url,
        ml_service_url=f"http://127.0.0.1:{free_port()}",
        allowed_hosts="*.example.org, gateway.home.svc",
        cors_origins=PAGE,
    )
    process.start()
    yield process
    process.stop()


def test_a_name_that_is_not_the_gateways_is_misdirected(caller: httpx.Client, database_url: str) -> None:
    before = accounts(database_url)

    answer = caller.post("/api/devices/register", json=registration(), headers={"Host": "evil.example"})

    assert answer.status_code == 421
    assert answer.json()["error"] == "Misdirected Request"
    assert answer.json()["requestId"] == answer.headers["X-Request-Id"]
    assert "ALLOWED_HOSTS" in answer.json()["message"]
    assert accounts(database_url) == before


@pytest.mark.parametrize("path", ["/api/devices", "/health/live", "/docs", "/openapi.json", "/nothing"])
def test_nothing_is_read_under_such_a_name(caller: httpx.Client, path: str) -> None:
    assert caller.get(path, headers={"Host": "evil.example:3100"}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:3100", "127.0.0.1:99", "[::1]:3100", "localhost."])
def test_this_machines_own_names_are_answered(caller: httpx.Client, host: str) -> None:
    assert caller.get("/health/live", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["a.example.org", "b.a.example.org:443", "gateway.home.svc"])
def test_the_names_that_the_operator_gave_are_answered(open_gateway: GatewayProcess, host: str) -> None:
    assert httpx.get(f"{open_gateway.url}/health/live", headers={"Host": host}).status_code == 200


def test_a_load_balancer_that_gives_no_name_gets_the_health(gateway: GatewayProcess) -> None:
    assert spoken(gateway, b"GET /health/live HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_every_name_that_is_given_must_be_the_gateways(gateway: GatewayProcess) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"

    assert spoken(gateway, request).startswith((b"HTTP/1.1 421 ", b"HTTP/1.1 400 "))


def test_a_page_of_another_origin_changes_nothing(caller: httpx.Client, database_url: str) -> None:
    before = accounts(database_url)

    answer = caller.post("/api/devices/register", json=registration(), headers={"Origin": "https://evil.example"})

    assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")
    assert accounts(database_url) == before


@pytest.mark.parametrize("origin", ["null", "http://127.0.0.1:1", "https://evil.example", "http://localhost.evil.example"])
def test_no_other_origin_is_the_gateways_own(caller: httpx.Client, origin: str) -> None:
    assert caller.post("/api/devices/register", json=registration(), headers={"Origin": origin}).status_code == 403


def test_the_gateways_own_page_may_do_everything(gateway: GatewayProcess, caller: httpx.Client) -> None:
    assert caller.post("/api/devices/register", json=registration(), headers={"Origin": gateway.url}).status_code == 201


def test_behind_tls_it_is_its_own_page_still(open_gateway: GatewayProcess) -> None:
    headers = {"Host": "a.example.org", "Origin": "https://a.example.org"}

    assert httpx.post(f"{open_gateway.url}/api/devices/register", json=registration(), headers=headers).status_code == 201


def test_a_page_that_the_operator_named_may_do_and_read_everything(open_gateway: GatewayProcess) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}
    preflight = httpx.options(f"{open_gateway.url}/api/devices/register", headers=asked)
    answer = httpx.post(f"{open_gateway.url}/api/devices/register", json=registration(), headers={"Origin": PAGE})

    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == PAGE
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
    assert answer.status_code == 201
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


def test_no_page_is_told_that_it_may_read_unless_the_operator_named_it(gateway: GatewayProcess, open_gateway: GatewayProcess) -> None:
    answers = [
        httpx.get(f"{gateway.url}/health/live", headers={"Origin": PAGE}),
        httpx.get(f"{open_gateway.url}/health/live", headers={"Origin": "https://evil.example"}),
    ]

    assert [answer.headers.get("Access-Control-Allow-Origin") for answer in answers] == [None, None]


def test_a_page_of_another_origin_opens_no_socket(gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)

    assert [refusal(gateway, device, Origin=origin) for origin in ("https://evil.example", "null")] == [403, 403]
    assert refusal(gateway, device, Origin=gateway.url) is None
    assert refusal(gateway, device) is None


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", ""]
)
def test_a_body_of_another_kind_is_not_read(caller: httpx.Client, database_url: str, kind: str) -> None:
    before = accounts(database_url)

    answer = caller.post("/api/devices/register", content=json.dumps(registration()), headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()["error"]) == (415, "Unsupported Media Type")
    assert accounts(database_url) == before


def test_a_body_without_a_kind_is_not_read(caller: httpx.Client) -> None:
    assert caller.post("/api/devices/register", content=json.dumps(registration())).status_code == 415


def test_a_body_in_pieces_is_no_exception(caller: httpx.Client) -> None:
    answer = caller.post(
        "/api/devices/register", content=iter([json.dumps(registration()).encode()]), headers={"Content-Type": "text/plain"}
    )

    assert answer.status_code == 415


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_may_say_how_it_is_encoded(caller: httpx.Client, kind: str) -> None:
    answer = caller.post("/api/devices/register", content=json.dumps(registration()), headers={"Content-Type": kind})

    assert answer.status_code == 201


def test_what_has_no_body_needs_no_kind(gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)

    assert device.client.post(f"/api/devices/{device.device_id}/deactivate").status_code in (200, 201)


def test_a_forwarded_address_that_nobody_believes_is_warned_of_once(open_gateway: GatewayProcess) -> None:
    for _ in range(3):
        httpx.get(f"{open_gateway.url}/health/live", headers={"X-Forwarded-For": "198.51.100.7"})
    httpx.get(f"{open_gateway.url}/health/live", headers={"X-Request-Id": "after-the-proxy"})

    log = open_gateway.log_with("after-the-proxy")

    assert log.count("X-Forwarded-For is not believed") == 1


def test_one_that_is_believed_is_not_warned_of(second_gateway: GatewayProcess) -> None:
    headers = {"X-Forwarded-For": "198.51.100.7", "X-Request-Id": "through-the-proxy"}
    httpx.get(f"{second_gateway.url}/health/live", headers=headers)

    assert "is not believed" not in second_gateway.log_with("through-the-proxy")


def spoken(gateway: GatewayProcess, request: bytes) -> bytes:
    """What comes back for these very bytes."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def refusal(gateway: GatewayProcess, device: Device, **headers: str) -> int | None:
    """With which status a WebSocket is refused, if it is."""
    address = gateway.url.replace("http", "ws", 1) + "/api/events"
    try:
        with connect(address, additional_headers={"Authorization": f"Bearer {device.token}", **headers}):
            return None
    except InvalidStatus as refused:
        return refused.response.status_code


def accounts(database_url: str) -> int:
    return int(rows(database_url, "select count(*) from account")[0]["count"])
