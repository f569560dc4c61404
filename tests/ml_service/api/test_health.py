import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ml_service.engine.scripted_engine import ScriptedEngine
from ml_service.models.catalogue import ModelEntry
from tests.fixtures.waiting import PATIENCE_SECONDS
from tests.ml_service.conftest import InProcess, running, scripted_settings

pytestmark = pytest.mark.anyio


async def test_health_is_as_documented(service: InProcess) -> None:
    answer = await service.client.get("/health")
    assert answer.status_code == 200
    assert answer.json() | {"queue_length": 0} == {  # other tests leave jobs in the queue
        "status": "healthy",
        "model_loaded": True,
        "model_version": "smollm2-135m-instruct",
        "redis_connected": True,
        "queue_length": 0,
        "engine": "ready",
        "admission": 1,
        "adapters_loaded": 0,
        "version": "0.1.0",
    }


async def test_an_engine_that_cannot_be_started_is_unhealthy_and_the_process_alive() -> None:
    def fail(_entry: ModelEntry) -> ScriptedEngine:
        raise OSError("no such weights")

    async with running(scripted_settings(), fail) as service:
        answer = await service.client.get("/health")
        assert answer.status_code == 503
        assert (answer.json()["status"], answer.json()["model_loaded"]) == ("unhealthy", False)
        assert (await service.client.get("/health/live")).status_code == 200
        assert (await service.client.post("/generate", json={"prompt": "a"})).status_code == 503


async def test_a_killed_engine_is_unhealthy_at_once_and_healthy_again_by_itself() -> None:
    weights_are_there = True

    def make_engine(_entry: ModelEntry) -> ScriptedEngine:
        if not weights_are_there:  # the next engine would be there before anybody could look
            raise OSError("no such weights")
        return ScriptedEngine()

    async with running(scripted_settings(), make_engine) as service:
        weights_are_there = False
        service.engine.kill()
        assert (await service.client.get("/health")).status_code == 503
        weights_are_there = True
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await service.client.get("/health")).status_code != 200:
                await asyncio.sleep(0.02)
        assert len(service.engines) == 2


async def test_metrics_count_what_happened(service: InProcess) -> None:
    await service.client.delete("/cache")
    for _ in range(2):
        await service.client.post("/generate", json={"prompt": "count me"})
    await service.client.post("/generate", json={"prompt": "count me", "adapter_id": "nobody"})

    text = (await service.client.get("/metrics")).text

    samples = {
        (sample.name, *sample.labels.values()): sample.value for family in text_string_to_metric_families(text) for sample in family.samples
    }
    assert samples["ml_generation_requests_total", "completed"] == 1
    assert samples["ml_generation_requests_total", "cached"] == 1
    assert samples["ml_generation_requests_total", "refused"] == 1
    assert samples["ml_cache_lookups_total", "hit"] == 1
    assert samples["ml_first_token_seconds_count",] == 1
    assert samples["ml_engine_state", "ready"] == 1


async def test_requests_are_counted_by_route_and_status(service: InProcess) -> None:
    await service.client.post("/generate", json={"prompt": "Hello"})
    await service.client.get("/generate/status/nobody")
    await service.client.get("/nowhere/at/all")
    text = (await service.client.get("/metrics")).text
    count = "ml_request_duration_seconds_count"
    assert f'{count}{{method="POST",route="/generate",status="200"}} 1.0' in text
    assert f'{count}{{method="GET",route="/generate/status/{{job_id:path}}",status="404"}} 1.0' in text
    assert f'{count}{{method="GET",route="none",status="404"}} 1.0' in text
