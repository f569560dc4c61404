import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ml_service.engine.scripted_engine import ScriptedEngine
from ml_service.models.catalogue import ModelEntry
from tests.fixtures.redis_client import Redis
from tests.fixtures.servers import Server
from tests.ml_service.conftest import InProcess, running, scripted_settings

pytestmark = pytest.mark.anyio

DOCUMENTED = {"prompt": "Them: What's your favorite color?\nMe:", "max_tokens": 256}


@pytest.fixture
async def service(jobs_server: Server, jobs_redis: Redis) -> AsyncIterator[InProcess]:
    """An app with a queue that nobody works on, and room for three jobs."""
    url = jobs_server.url
    async with running(scripted_settings(redis_url=url, max_queued_jobs=3)) as in_process:
        yield in_process


async def test_a_job_is_accepted_and_asked_for_as_documented(service: InProcess) -> None:
    accepted = await service.client.post("/generate/async", json=DOCUMENTED)
    assert accepted.status_code == 202
    assert accepted.json() == {"job_id": accepted.json()["job_id"], "status": "queued"}
    assert UUID(accepted.json()["job_id"]).version == 7

    state = await service.client.get(f"/generate/status/{accepted.json()['job_id']}")
    assert state.status_code == 200
    assert state.json() | {"created_at": ""} == {
        "job_id": accepted.json()["job_id"], "status": "queued", "result": None, "error": None, "created_at": "", "completed_at": None,
    }  # fmt: skip
    assert state.json()["created_at"].endswith("Z")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": 2049}, "max_tokens"),
        ({"prompt": "a", "n": 5}, "n"),
        ({"prompt": "a", "temperature": 2.1}, "temperature"),
        ({"prompt": "a" * 9000}, "prompt"),
        ({"prompt": "a", "job_id": ""}, "job_id"),
        ({"prompt": "a", "job_id": "x" * 101}, "job_id"),
    ],
)
async def test_what_generate_refuses_is_refused_and_not_queued(service: InProcess, body: dict[str, object], field: str) -> None:
    refused = await service.client.post("/generate/async", json=body)
    assert refused.status_code == 400, refused.text
    assert field in refused.json()["message"]
    assert (await service.client.get("/health")).json()["queue_length"] == 0


async def test_an_unknown_adapter_is_refused(service: InProcess) -> None:
    assert (await service.client.post("/generate/async", json={**DOCUMENTED, "adapter_id": "nobody"})).status_code == 404


async def test_a_known_id_is_409_and_unknown_ones_are_404(service: InProcess) -> None:
    job_id = uuid4().hex
    first = await service.client.post("/generate/async", json={**DOCUMENTED, "job_id": job_id})
    assert first.json() == {"job_id": job_id, "status": "queued"}
    assert (await service.client.post("/generate/async", json={**DOCUMENTED, "job_id": job_id})).status_code == 409
    assert (await service.client.get("/generate/status/nobody")).status_code == 404
    assert (await service.client.post("/generate/cancel/nobody")).status_code == 404


async def test_any_id_that_is_accepted_can_be_asked_for(service: InProcess) -> None:
    job_id = "draft/7 ü:%2F"
    assert (await service.client.post("/generate/async", json={**DOCUMENTED, "job_id": job_id})).status_code == 202
    answer = await service.client.get("/generate/status/draft%2F7%20%C3%BC%3A%252F")
    assert answer.json()["job_id"] == job_id


async def test_fifty_at_once_with_one_id_get_one_202(service: InProcess) -> None:
    answers = await asyncio.gather(*(service.client.post("/generate/async", json={**DOCUMENTED, "job_id": "one"}) for _ in range(50)))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 409: 49}


async def test_a_waiting_job_is_cancelled_at_once_and_only_once(service: InProcess) -> None:
    job_id = (await service.client.post("/generate/async", json=DOCUMENTED)).json()["job_id"]

    cancelled = await service.client.post(f"/generate/cancel/{job_id}")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert cancelled.json()["completed_at"] is not None

    again = await service.client.post(f"/generate/cancel/{job_id}")
    assert again.status_code == 409
    assert "cancelled already" in again.json()["message"]


async def test_a_full_queue_is_503_with_a_time_to_come_back(service: InProcess) -> None:
    job_ids = [(await service.client.post("/generate/async", json=DOCUMENTED)).json()["job_id"] for _ in range(3)]
    full = await service.client.post("/generate/async", json=DOCUMENTED)
    assert full.status_code == 503
    assert int(full.headers["Retry-After"]) > 0
    assert (await service.client.get("/health")).json()["queue_length"] == 3

    await service.client.post(f"/generate/cancel/{job_ids[0]}")
    assert (await service.client.post("/generate/async", json=DOCUMENTED)).status_code == 202


async def test_without_redis_jobs_are_503_and_generation_goes_on() -> None:
    async with running(scripted_settings()) as service:
        for answer in (
            await service.client.post("/generate/async", json=DOCUMENTED),
            await service.client.get("/generate/status/any"),
            await service.client.post("/generate/cancel/any"),
        ):
            assert answer.status_code == 503
            assert "Retry-After" in answer.headers
        assert (await service.client.post("/generate", json=DOCUMENTED)).status_code == 200
        assert (await service.client.get("/metrics")).status_code == 200


async def test_jobs_are_accepted_while_the_model_is_away(jobs_server: Server, jobs_redis: Redis) -> None:
    def fail(_entry: ModelEntry) -> ScriptedEngine:
        raise OSError("no such weights")

    async with running(scripted_settings(redis_url=jobs_server.url), fail) as service:
        assert (await service.client.post("/generate", json=DOCUMENTED)).status_code == 503
        assert (await service.client.post("/generate/async", json=DOCUMENTED)).status_code == 202
        assert (await service.client.post("/generate/async", json={})).status_code == 400


async def test_metrics_tell_of_the_queue(service: InProcess) -> None:
    job_id = (await service.client.post("/generate/async", json=DOCUMENTED)).json()["job_id"]
    await service.client.post("/generate/async", json=DOCUMENTED)
    await service.client.post(f"/generate/cancel/{job_id}")

    families = text_string_to_metric_families((await service.client.get("/metrics")).text)
    samples = {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}

    assert samples["ml_jobs", "queued"] == 1
    assert samples["ml_jobs", "generating"] == 0
    assert samples["ml_job_next_age_seconds",] >= 0
    assert samples["ml_jobs_finished_total", "cancelled"] == 1
    assert samples["ml_job_wait_seconds_count",] == 0
