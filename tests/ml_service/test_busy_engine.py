"""An engine that has much to do and little of the processor is slow, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from tests.benchmarks.made_up_history import windows
from tests.fixtures.ml_service import MlServiceProcess, data_folder
from tests.fixtures.servers import running_valkey
from tests.fixtures.throttle import held_to
from tests.fixtures.training import BASE_MODEL
from tests.fixtures.waiting import eventually
from tests.fixtures.workers import WorkerProcess

DRAFTS = 40
LONG_PROMPT_WORDS = 1400


@pytest.fixture
def busy_folder(run_folder: Path) -> Path:
    folder = run_folder / "busy"
    folder.mkdir()
    return folder


@pytest.fixture
def service(busy_folder: Path, smollm2: Path) -> Iterator[MlServiceProcess]:
    """A service of its own with a worker and a queue; three seconds without a step would be too many, were it not for the processor."""
    with running_valkey(busy_folder) as valkey:
        service = MlServiceProcess(busy_folder, redis_url=valkey.url, canary_interval_seconds="1", canary_deadline_seconds="2")
        worker = WorkerProcess(
            busy_folder, redis_url=valkey.url, ml_service_url=service.url, ml_service_token=service.token, worker_jobs=str(DRAFTS)
        )
        try:
            service.start()
            worker.start()
            yield service
        finally:
            worker.stop()
            service.stop()


def test_with_half_a_core_it_is_left_alone(service: MlServiceProcess) -> None:
    core = service.engine_core_pid()
    with service.client() as client, held_to(0.5, [psutil.Process(core)]):
        jobs = [client.post("/generate/async", json=long_draft(number)).json()["job_id"] for number in range(DRAFTS)]

        def completed() -> bool:
            return any(client.get(f"/generate/status/{job}").json()["status"] == "completed" for job in jobs)

        eventually(lambda: completed() or "engine given up" in service.log(), seconds=240)
        assert "engine given up" not in service.log()
        assert service.engine_core_pid() == core


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_with_half_a_core_beside_a_training_every_draft_ends(service: MlServiceProcess, busy_folder: Path) -> None:
    trainer = WorkerProcess(
        busy_folder,
        queue="training",
        redis_url=service.redis_url,
        ml_service_url=service.url,
        ml_service_token=service.token,
        data_dir=str(data_folder(busy_folder / "training")),
    )
    trainer.start()
    core = service.engine_core_pid()
    try:
        with service.client() as client, held_to(0.5, [psutil.Process(core)]):
            jobs = [client.post("/generate/async", json=short_draft(number)).json()["job_id"] for number in range(DRAFTS)]
            samples = [msgspec.to_builtins(sample) for sample in windows(DRAFTS, turns_before=10, threaded=True)]
            started = client.post("/training/start", json={"base_model": BASE_MODEL, "samples": samples, "epochs": 1})
            assert started.status_code == 202, started.text

            def ended(path: str) -> bool:
                return client.get(path).json()["status"] in ("completed", "failed", "cancelled")

            eventually(lambda: all(ended(f"/generate/status/{job}") for job in jobs), seconds=1800)
            assert {client.get(f"/generate/status/{job}").json()["status"] for job in jobs} == {"completed"}
            training = f"/training/status/{started.json()['job_id']}"
            eventually(lambda: ended(training), seconds=1200)
            assert client.get(training).json()["status"] == "completed"
        assert "engine given up" not in service.log()
        assert service.engine_core_pid() == core
    finally:
        trainer.stop()


def short_draft(number: int) -> dict[str, object]:
    return {"prompt": f"{number}: shall we bring bread or wine?", "max_tokens": 32}


def long_draft(number: int) -> dict[str, object]:
    """One that shares nothing with the others that the engine could keep."""
    return {"prompt": f"{number} " + "word " * LONG_PROMPT_WORDS, "max_tokens": 2}
