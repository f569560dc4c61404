from uuid import UUID

import httpx
import pytest

from tests.factories import NO_TLS, Device, calls_from, new_address, paired_device, registration
from tests.fixtures.gateway import GatewayProcess


@pytest.fixture(scope="module")
def device(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


@pytest.fixture
def caller(gateway: GatewayProcess) -> httpx.Client:
    return calls_from(gateway.url, new_address())


@pytest.mark.parametrize("content", [b"", b"{", b"[1,]", b"\xff\xfe", b'{"name": NaN}', b"[" * 10_000, b'{"name": "\\ud800"}'])
def test_a_body_that_is_not_json_is_400(caller: httpx.Client, content: bytes) -> None:
    answer = caller.post("/api/devices/register", content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert answer.json()["error"] == "Bad Request"


@pytest.mark.parametrize(
    "path",
    ["/api/sync/messages", "/api/sync/contacts", "/api/responses/generate", f"/api/responses/{UUID(int=0)}/action", "/api/training/start"],
)
def test_a_body_that_is_missing_is_asked_for(device: Device, path: str) -> None:
    answer = device.client.post(path, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["message"]) == (400, "Send a JSON body")
    assert device.client.request("DELETE", "/api/account").json()["message"] == "Send a JSON body"


@pytest.mark.parametrize("content", [b"null", b"[]", b'"text"', b"3"])
def test_a_body_of_another_kind_is_400(caller: httpx.Client, content: bytes) -> None:
    assert caller.post("/api/devices/register", content=content, headers={"Content-Type": "application/json"}).status_code == 400


def test_a_bad_field_is_named(caller: httpx.Client) -> None:
    answer = caller.post("/api/devices/register", json={**registration(), "platform": 3})

    assert answer.status_code == 400
    assert answer.json() == {
        "statusCode": 400,
        "message": "platform: Expected `str`, got `int`",
        "error": "Bad Request",
        "requestId": answer.headers["X-Request-Id"],
        "details": [{"field": "platform", "message": "Expected `str`, got `int`"}],
    }


def test_a_missing_field_is_named(caller: httpx.Client) -> None:
    body = registration()
    del body["hardwareId"]

    answer = caller.post("/api/devices/register", json=body)

    assert answer.status_code == 400
    assert "hardwareId" in answer.json()["message"]


def test_a_bad_field_deep_inside_is_named_with_its_place(device: Device) -> None:
    message = {
        "imessageGuid": "g",
        "senderId": "s",
        "direction": "incoming",
        "messageType": "text",
        "text": "t",
        "sentAt": "2024-01-01T12:00:00Z",
    }
    body = {
        "conversationImessageId": "thread",
        "isGroup": False,
        "participantIds": [],
        "messages": [message, {**message, "sentAt": "yesterday"}],
    }

    answer = device.client.post("/api/sync/messages", json=body)

    assert answer.status_code == 400
    assert [problem["field"] for problem in answer.json()["details"]] == ["messages[1].sentAt"]


def test_unknown_fields_are_ignored(caller: httpx.Client) -> None:
    assert caller.post("/api/devices/register", json={**registration(), "favouriteColour": "green"}).status_code == 201


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "a-key-of-enough-characters"}])
def test_a_body_over_eight_mebibytes_is_413(caller: httpx.Client, key: dict[str, str]) -> None:
    headers = {"Content-Type": "application/json", **key}

    def chunks() -> object:
        yield b'{"name": "'
        for _ in range(9):
            yield b"x" * 1024 * 1024

    declared = caller.post("/api/devices/register", content=b" " * (8 * 1024 * 1024 + 1), headers=headers)
    chunked = caller.post("/api/devices/register", content=chunks(), headers=headers)  # type: ignore[arg-type]

    assert (declared.status_code, chunked.status_code) == (413, 413)
    assert declared.json()["error"] == "Request Entity Too Large" or declared.json()["error"] == "Content Too Large"


def test_the_wrong_method_is_405_and_says_which_are_right(caller: httpx.Client) -> None:
    answer = caller.put("/api/devices")

    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]
    assert answer.json()["statusCode"] == 405


def test_an_unknown_address_is_404(caller: httpx.Client) -> None:
    assert caller.get("/api/nothing").json()["statusCode"] == 404


def test_a_request_id_is_taken_when_it_is_plain_and_made_when_it_is_not(gateway: GatewayProcess) -> None:
    def id_for(sent: str) -> str:
        return httpx.get(f"{gateway.url}/health/live", headers={"X-Request-Id": sent}, verify=NO_TLS).headers["X-Request-Id"]

    assert id_for("abc-1") == "abc-1"
    assert len(id_for("has spaces")) == 36
    assert len(id_for("x" * 129)) == 36


def test_the_log_has_the_request_id_and_neither_codes_nor_tokens(gateway: GatewayProcess, device: Device) -> None:
    caller = calls_from(gateway.url, new_address())
    pairing = caller.post("/api/devices/register", json=registration()).json()
    verified = caller.post(
        "/api/devices/verify", json={"deviceId": pairing["deviceId"], "code": pairing["code"]}, headers={"X-Request-Id": "logged-1"}
    ).json()
    refresh = {"refreshToken": "never-issued-token"}
    caller.post("/api/devices/refresh?secret=query", json=refresh, headers={"X-Request-Id": "logged-2"})

    log = gateway.log_with('"request_id":"logged-1"', '"request_id":"logged-2"')

    for secret in (verified["token"], verified["refreshToken"], device.token, "never-issued-token", "secret=query"):
        assert secret not in log
