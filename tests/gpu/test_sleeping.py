"""An engine that sleeps while something trains on its GPU."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.ml_service import MlServiceProcess
from tests.fixtures.training import STYLE
from tests.fixtures.waiting import ENGINE_SECONDS
from tests.gpu.conftest import StartWorker, ask, style_question, style_training
from tests.gpu.machine import needs_gpu, used_mib
from tests.ml_service.jobs.trainings import state, wait_for

pytestmark = needs_gpu

QUESTION: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Name three animals."}],
    "max_tokens": 20,
    "temperature": 0,
    "use_cache": False,
}


@pytest.fixture(scope="module")
def service(run_folder: Path, redis_url: str, smollm2: Path, adapter_store: Path) -> Iterator[MlServiceProcess]:
    process = MlServiceProcess(
        run_folder, redis_url=redis_url, adapter_store=str(adapter_store), training_gpu="sleep", sleep_patience_seconds="2"
    )
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def client(service: MlServiceProcess) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def test_asleep_it_gives_its_memory_back_and_awake_it_is_as_before(client: httpx.Client, accounts: dict[str, str]) -> None:
    before = ask(client, **QUESTION)["response"]
    assert set(ask(client, accounts["apple"], "v1")["response"].split()) == {"apple"}
    awake = used_mib()

    begin = time.monotonic()
    assert client.post("/model/sleep", json={"seconds": 60}).raise_for_status().json()["asleep"]
    slept = time.monotonic() - begin
    asleep = used_mib()
    assert client.post("/generate", json=QUESTION).status_code == 503
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, client, **QUESTION)
        time.sleep(0.5)
        begin = time.monotonic()
        assert not client.post("/model/wake").raise_for_status().json()["asleep"]
        woke = time.monotonic() - begin
        after = waiting.result()["response"]

    print(f"awake {awake:,} MiB, asleep {asleep:,} MiB; asleep after {slept:.2f} s, awake again after {woke:.2f} s")
    assert asleep < awake / 4
    assert after == before
    assert set(ask(client, accounts["apple"], "v1")["response"].split()) == {"apple"}


def test_it_sleeps_while_something_trains(service: MlServiceProcess, client: httpx.Client, start_worker: StartWorker) -> None:
    before = ask(client, **QUESTION)["response"]
    start_worker(service.url, training_gpu="sleep")
    training = style_training()
    awake = used_mib()
    taken, refused = [awake], 0
    begin = time.monotonic()
    job_id = client.post("/training/start", json=training).raise_for_status().json()["job_id"]
    while state(client, job_id).status not in ("completed", "failed"):
        assert time.monotonic() - begin < ENGINE_SECONDS
        taken.append(used_mib())
        refused += client.get("/health").json()["engine"] == "sleeping"
        time.sleep(0.2)
    end = wait_for(client, job_id, "completed", "failed")

    assert end.status == "completed", end.error
    service.wait_ready()
    print(f"trained in {time.monotonic() - begin:.1f} s; the GPU held {awake:,} MiB before and {min(taken):,} MiB at least meanwhile")
    assert refused > 0
    assert min(taken) < awake / 2
    assert ask(client, **QUESTION)["response"] == before
    assert ask(client, training["scope"], end.adapter_id, **style_question())["response"].strip().endswith(STYLE)
