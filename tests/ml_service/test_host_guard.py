"""What a web page can reach of the ML service, which asks for no token where it listens on loopback only."""

import pytest

from tests.ml_service.conftest import InProcess, running, scripted_settings

pytestmark = pytest.mark.anyio

BODY = {"prompt": "Hello"}
RELOAD = "/model/reload?model_id=smollm2-135m-instruct"


async def test_a_simple_request_of_a_page_reloads_no_model() -> None:
    async with running(scripted_settings(ml_service_token="")) as service:
        answer = await service.client.post(RELOAD, headers={"Origin": "https://evil.example"})

        assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")
        assert len(service.engines) == 1


async def test_a_name_that_is_not_the_services_is_misdirected_before_the_token_is_looked_at(service: InProcess) -> None:
    answers = [
        await service.client.post("/generate", json=BODY, headers={"Host": "evil.example", "Authorization": authorization})
        for authorization in ("", service.client.headers["Authorization"])
    ]

    assert [answer.status_code for answer in answers] == [421, 421]
    assert answers[0].json()["requestId"] == answers[0].headers["X-Request-Id"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_of_another_kind_is_not_read(service: InProcess, kind: str) -> None:
    before = service.engine.generations

    answer = await service.client.post("/generate", content=b'{"prompt": "Hello"}', headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()["error"]) == (415, "Unsupported Media Type")
    assert service.engine.generations == before


async def test_in_a_cluster_it_is_called_by_the_name_where_workers_look_for_it() -> None:
    settings = scripted_settings(host="0.0.0.0", ml_service_url=["http://ml_service:8100"], allowed_hosts=["ml.home.svc"])
    async with running(settings) as service:
        status = {
            host: (await service.client.post("/generate", json=BODY, headers={"Host": host})).status_code
            for host in ("ml_service:8100", "ml.home.svc", "evil.example")
        }

    assert status == {"ml_service:8100": 200, "ml.home.svc": 200, "evil.example": 421}


async def test_a_probe_asks_by_the_address_of_the_pod() -> None:
    async with running(scripted_settings(host="0.0.0.0")) as service:
        assert (await service.client.get("/health/live", headers={"Host": "10.42.0.17:8100"})).status_code == 200
