import json
from collections.abc import AsyncIterator

import pytest

from ml_service.middleware import MAX_BODY_BYTES
from tests.ml_service.conftest import InProcess, running, scripted_settings

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
LARGE = b'{"prompt": "' + b"a" * MAX_BODY_BYTES + b'"}'


@pytest.mark.parametrize(
    "path", ["/generate", "/models", "/metrics", "/cache", "/v1/models", "/v1/chat/completions", "/openapi.json", "/nothing"]
)
@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic ml-service-test-token", "bearer ml-service-test-token"])
async def test_nothing_but_health_is_open(service: InProcess, path: str, authorization: str) -> None:
    answer = await service.client.get(path, headers={"Authorization": authorization})
    assert answer.status_code == 401
    assert answer.json()["error"] == "Unauthorized"
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_callers_change_to_a_new_token_one_after_the_other(redis_url: str) -> None:
    settings = scripted_settings(redis_url=redis_url, ml_service_token="n" * 16, former_ml_service_token="f" * 16)
    async with running(settings) as service:
        for token, status in (("n" * 16, 200), ("f" * 16, 200), ("x" * 16, 401), ("", 401)):
            answer = await service.client.get("/models", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status


@pytest.mark.parametrize("path", ["/health", "/health/live"])
async def test_health_is_open(service: InProcess, path: str) -> None:
    assert (await service.client.get(path, headers={"Authorization": ""})).status_code == 200


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PUT", "/generate", 405), ("POST", "/health", 405)])
async def test_unknown_addresses_and_methods_have_the_same_body(service: InProcess, method: str, path: str, status: int) -> None:
    answer = await service.client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"statusCode", "message", "error", "requestId"}
    assert ("allow" in answer.headers) == (status == 405)


async def test_a_sane_request_id_is_kept(service: InProcess) -> None:
    answer = await service.client.get("/nothing", headers={"X-Request-Id": "gateway-1:a.b"})
    assert answer.headers["x-request-id"] == answer.json()["requestId"] == "gateway-1:a.b"


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 129, 'a"b', "naïve"])
async def test_any_other_request_id_is_replaced(service: InProcess, request_id: str) -> None:
    answer = await service.client.get("/nothing", headers=[(b"X-Request-Id", request_id.encode())])
    assert answer.headers["x-request-id"] not in ("", request_id)


async def test_a_declared_large_body_is_refused(service: InProcess) -> None:
    answer = await service.client.post("/generate", content=LARGE, headers=JSON)
    assert (answer.status_code, answer.json()["error"]) == (413, "Request Entity Too Large")


async def test_an_undeclared_large_body_is_refused(service: InProcess) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(LARGE), 65536):
            yield LARGE[start : start + 65536]

    assert (await service.client.post("/generate", content=chunks(), headers=JSON)).status_code == 413


@pytest.mark.parametrize("body", [b"", b"{", b"[1", b"\xff\xfe", b'{"prompt": "\xff"}', b"null", b"[]", b'"a"', b"1" * 5000])
async def test_a_body_that_is_no_object_is_400(service: InProcess, body: bytes) -> None:
    answer = await service.client.post("/generate", content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert json.loads(answer.text)["statusCode"] == 400
    assert b"Traceback" not in answer.content


async def test_an_error_that_nobody_foresaw_says_nothing_of_the_inside(service: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_args: object) -> None:
        raise RuntimeError("a secret in /srv/somewhere")

    monkeypatch.setattr("ml_service.generation.fit_turns", break_down)
    answer = await service.client.post("/generate", json={"messages": [{"role": "user", "content": "a"}]})
    assert answer.status_code == 500
    assert "secret" not in answer.text
