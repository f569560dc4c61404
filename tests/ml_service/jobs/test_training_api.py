import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fixtures.redis_client import Redis
from tests.fixtures.servers import Server
from tests.ml_service.conftest import InProcess, running, scripted_settings
from tests.ml_service.jobs.trainings import SCOPE, samples, training

pytestmark = pytest.mark.anyio


@pytest.fixture
async def service(jobs_server: Server, jobs_redis: Redis, tmp_path: Path) -> AsyncIterator[InProcess]:
    """An app whose training queue nobody works on."""
    async with running(scripted_settings(redis_url=jobs_server.url, data_dir=str(tmp_path))) as in_process:
        yield in_process


async def test_a_training_is_accepted_and_asked_for_as_documented(service: InProcess) -> None:
    body = {
        "job_id": "custom-job-id",
        "base_model": "ministral-3b-instruct",
        "samples": [{"input": "How are you?", "output": "Great!", "quality": 1.0}],
        "epochs": 3,
        "learning_rate": 0.0001,
    }
    accepted = await service.client.post("/training/start", json=body)
    assert (accepted.status_code, accepted.json()) == (202, {"job_id": "custom-job-id", "status": "queued"})

    state = await service.client.get("/training/status/custom-job-id")
    assert state.status_code == 200
    assert state.json() | {"created_at": ""} == {
        "job_id": "custom-job-id", "status": "queued", "progress": 0.0, "epoch": 0.0, "step": 0, "total_steps": 0, "loss": None,
        "train_samples": 0, "eval_samples": 0,
        "peak_memory_mib": None, "eval_loss": None, "baseline_eval_loss": None, "adapter_id": None, "history": [],
        "comparisons": [], "error": None, "created_at": "", "started_at": None, "completed_at": None,
    }  # fmt: skip
    assert state.json()["created_at"].endswith("Z")


async def test_a_job_gets_an_id_when_it_has_none(service: InProcess) -> None:
    accepted = await service.client.post("/training/start", json=training())
    assert UUID(accepted.json()["job_id"]).version == 7


TURN = {"role": "user", "content": "Hi"}
REPLY = {"role": "assistant", "content": "Hi"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"base_model": "nobody"}, "base_model"),
        ({"samples": []}, "samples"),
        ({"samples": [{**sample, "quality": 0} for sample in samples()]}, "samples"),
        ({"method": "dpo"}, "samples"),
        ({"samples": [*samples(), {"output": "a"}]}, "samples[4].input"),
        ({"samples": [*samples(), {"output": "a", "input": "b", "messages": [TURN]}]}, "samples[4].input"),
        ({"samples": [*samples(), {"output": "a", "messages": [TURN, REPLY]}]}, "samples[4].messages"),
        ({"samples": [*samples(), {"output": "", "input": "b"}]}, "samples[4].output"),
        ({"samples": [*samples(), {"output": "a", "input": "b", "quality": 1.5}]}, "samples[4].quality"),
        ({"lora": {"rank": 32}}, "lora.rank"),
        ({"lora": {"rank": 7}}, "lora.rank"),
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"job_id": "../up"}, "job_id"),
        ({"job_id": "a/b"}, "job_id"),
        ({"adapter_id": "../up"}, "adapter_id"),
        ({"job_id": "one", "adapter_id": "two"}, "adapter_id"),
        ({"scope": "a b"}, "scope"),
        ({"baseline_adapter_id": "nobody"}, "baseline_adapter_id"),
    ],
)
async def test_what_could_not_be_trained_is_refused_by_name_and_not_queued(
    service: InProcess, jobs_redis: Redis, changes: dict[str, Any], field: str
) -> None:
    refused = await service.client.post("/training/start", json=training(**changes))
    assert refused.status_code == 400, refused.text
    assert field in refused.json()["message"]
    assert field in [problem["field"] for problem in refused.json()["details"]]
    assert not jobs_redis.keys("*")


async def test_pairs_are_what_preference_training_needs(service: InProcess) -> None:
    pairs = [{**sample, "rejected_output": "No"} for sample in samples()]
    assert (await service.client.post("/training/start", json=training(method="dpo", samples=pairs))).status_code == 202


async def test_known_ids_are_409_and_unknown_ones_are_404(service: InProcess) -> None:
    assert (await service.client.post("/training/start", json=training(job_id="one"))).status_code == 202
    assert (await service.client.post("/training/start", json=training(job_id="one"))).status_code == 409
    assert (await service.client.post("/training/start", json=training(adapter_id="one"))).status_code == 409
    assert (await service.client.post("/training/start", json=training(adapter_id="two"))).json()["job_id"] == "two"
    assert (await service.client.get("/training/status/nobody")).status_code == 404
    assert (await service.client.post("/training/cancel/nobody")).status_code == 404


async def test_a_waiting_training_is_cancelled_once(service: InProcess) -> None:
    await service.client.post("/training/start", json=training(job_id="one"))
    cancelled = await service.client.post("/training/cancel/one")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    again = await service.client.post("/training/cancel/one")
    assert again.status_code == 409
    assert "cancelled already" in again.json()["message"]


async def test_samples_may_have_32_mib_and_other_bodies_4(service: InProcess) -> None:
    large = [{"input": "a" * 2**20, "output": "b"} for _ in range(31)]
    assert (await service.client.post("/training/start", json=training(samples=large))).status_code == 202
    large.append(large[0])
    too_large = await service.client.post(
        "/training/start", content=json.dumps(training(samples=large)), headers={"Content-Type": "application/json"}
    )
    assert too_large.status_code == 413
    assert "32 MiB" in too_large.json()["message"]
    assert (await service.client.post("/generate", json={"prompt": "a" * 5 * 2**20})).status_code == 413


async def test_a_scope_is_forgotten_with_its_jobs(service: InProcess) -> None:
    training_id = (await service.client.post("/training/start", json=training())).json()["job_id"]
    draft_id = (await service.client.post("/generate/async", json={"prompt": "Hello", "scope": SCOPE})).json()["job_id"]
    other_id = (await service.client.post("/generate/async", json={"prompt": "Hello", "scope": "ben"})).json()["job_id"]

    for _ in range(2):
        forgotten = await service.client.post("/forget", json={"scope": SCOPE, "extent": "everything"})
        assert (forgotten.status_code, forgotten.json()) == (200, {"complete": True})

    assert (await service.client.get(f"/training/status/{training_id}")).status_code == 404
    assert (await service.client.get(f"/generate/status/{draft_id}")).status_code == 404
    assert (await service.client.get(f"/generate/status/{other_id}")).status_code == 200
    assert (await service.client.post("/forget", json={"extent": "everything"})).status_code == 400


async def test_without_redis_trainings_are_503() -> None:
    async with running(scripted_settings()) as service:
        for answer in (
            await service.client.post("/training/start", json=training()),
            await service.client.get("/training/status/any"),
            await service.client.post("/training/cancel/any"),
            await service.client.post("/forget", json={"scope": SCOPE, "extent": "everything"}),
        ):
            assert answer.status_code == 503
            assert "Retry-After" in answer.headers
        assert (await service.client.post("/training/start", json=training(base_model="nobody"))).status_code == 400


async def test_metrics_tell_of_trainings(service: InProcess) -> None:
    await service.client.post("/training/start", json=training())
    await service.client.post("/training/start", json=training(job_id="one"))
    await service.client.post("/training/cancel/one")

    families = text_string_to_metric_families((await service.client.get("/metrics")).text)
    found = {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}

    assert found["ml_training_jobs", "queued"] == 1
    assert found["ml_training_jobs", "training"] == 0
    assert found["ml_training_jobs_finished_total", "cancelled"] == 1
    assert found["ml_training_job_seconds_count",] == 0
