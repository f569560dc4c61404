"""What becomes of a service whose processes are killed, stopped or given another model."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.fixtures.ml_service import MlServiceProcess
from tests.fixtures.waiting import ENGINE_SECONDS, PATIENCE_SECONDS, eventually

CATALOGUE = """
[models.twin]
description = "The same weights under another name"
source = "folder"
location = "{twin}"
parameters = 135_000_000
disk_gib = 0.3
context_length = 1024

[models.broken]
description = "A checkpoint without weights"
source = "folder"
location = "{broken}"
parameters = 1
disk_gib = 0.1
context_length = 1024
"""
STORY = {"prompt": "Once upon a time", "max_tokens": 1500, "stream": True, "use_cache": False}
QUESTION = {"prompt": "The capital of France is", "max_tokens": 3, "temperature": 0, "use_cache": False}


@pytest.fixture(scope="module")
def service(run_folder: Path, redis_url: str, smollm2: Path) -> Iterator[MlServiceProcess]:
    """A service that notices a stuck engine quickly, with two more models in its catalogue."""
    broken = run_folder / "broken-model"
    broken.mkdir()
    for file in smollm2.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, broken)
    catalogue = run_folder / "models.toml"
    catalogue.write_text(CATALOGUE.format(twin=smollm2, broken=broken))
    process = MlServiceProcess(
        run_folder, redis_url=redis_url, model_catalogue=str(catalogue), canary_interval_seconds="1", canary_deadline_seconds="15"
    )
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def client(service: MlServiceProcess) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def last_event_after(client: httpx.Client, harm: Callable[[], None]) -> tuple[str, dict[str, object]]:
    """Open a stream, do harm while it runs, and return its last event."""
    with client.stream("POST", "/generate", json=STORY) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        next(lines)
        harm()
        rest = [line for line in lines if line]
    return rest[-2].removeprefix("event: "), json.loads(rest[-1].removeprefix("data: "))


def test_a_killed_engine_ends_its_streams_with_an_error_and_comes_back(service: MlServiceProcess, client: httpx.Client) -> None:
    old = service.engine_processes()

    name, data = last_event_after(client, service.kill_engine)

    assert (name, data["statusCode"]) == ("failed", 503)
    assert service.health_status() == 503
    for path, body in (("/generate", QUESTION), ("/v1/completions", QUESTION | {"model": "smollm2-135m-instruct"})):
        refused = client.post(path, json=body)
        assert (refused.status_code, refused.json()["error"]) == (503, "Service Unavailable")
        assert int(refused.headers["retry-after"]) > 0
    assert service.health_status("/health/live") == 200
    service.wait_ready()
    assert "Paris" in client.post("/generate", json=QUESTION).json()["response"]
    eventually(lambda: not any(process.is_running() for process in old))


def test_an_engine_at_rest_has_one_thread_that_looks_for_others(service: MlServiceProcess) -> None:
    threads = Path(f"/proc/{service.engine_core_pid()}/task").glob("*/comm")
    assert [name for name in (thread.read_text().strip() for thread in threads) if name == "gloo_tcp_loop"] == ["gloo_tcp_loop"]


def test_the_process_that_engines_are_forked_from_may_be_killed(service: MlServiceProcess, client: httpx.Client) -> None:
    core = psutil.Process(service.engine_core_pid())
    fork_point = core.parent()
    assert fork_point.pid != service.process.pid
    fork_point.kill()
    eventually(lambda: not core.is_running())
    eventually(lambda: service.health_status() == 503)
    service.wait_ready()
    assert psutil.Process(service.engine_core_pid()).ppid() not in (fork_point.pid, service.process.pid)
    assert "Paris" in client.post("/generate", json=QUESTION).json()["response"]


def test_a_stuck_engine_is_noticed_and_replaced(service: MlServiceProcess, client: httpx.Client) -> None:
    old = service.engine_processes()

    name, data = last_event_after(client, service.stall_engine)

    assert (name, data["statusCode"]) == ("failed", 503)
    assert service.health_status() == 503
    service.wait_ready()
    assert "Paris" in client.post("/generate", json=QUESTION).json()["response"]
    eventually(lambda: not any(process.is_running() for process in old))
    assert 'ml_engine_rebuilds_total{reason="stuck"} 1.0' in client.get("/metrics").text


def test_a_service_whose_engine_dies_again_and_again_lets_less_in_and_says_so(service: MlServiceProcess, client: httpx.Client) -> None:
    fork_point = psutil.Process(service.engine_core_pid()).ppid()
    for _ in range(2):
        service.kill_engine()
        eventually(lambda: service.health_status() == 503, seconds=60)
        service.wait_ready()
        assert psutil.Process(service.engine_core_pid()).ppid() == fork_point
    assert client.get("/health").json()["admission"] <= 0.5
    assert "less is let in" in service.log()
    assert "Paris" in client.post("/generate", json=QUESTION).json()["response"]


def test_another_model_is_loaded_while_the_old_one_serves(service: MlServiceProcess, client: httpx.Client) -> None:
    with ThreadPoolExecutor(1) as pool:
        reloading = pool.submit(client.post, "/model/reload", params={"model_id": "twin"})
        served = 0
        while not reloading.done():
            answer = client.post("/generate", json=QUESTION)
            assert answer.status_code == 200, answer.text
            served += answer.json()["model_version"] == "smollm2-135m-instruct"
            assert client.post("/model/reload", params={"model_id": "broken"}).status_code in (409, 503)
            time.sleep(0.3)
    assert served > 0
    assert reloading.result().json() | {"seconds": 0} == {
        "status": "reloaded",
        "previous": "smollm2-135m-instruct",
        "model_version": "twin",
        "seconds": 0,
    }
    assert client.post("/generate", json=QUESTION).json()["model_version"] == "twin"
    assert client.get("/v1/models").json()["data"][0]["id"] == "twin"
    assert "vllm:generation_tokens_total" in client.get("/metrics").text
    eventually(lambda: len(service.engine_processes()) == 1)


def test_a_model_that_cannot_be_loaded_changes_nothing(service: MlServiceProcess, client: httpx.Client) -> None:
    answer = client.post("/model/reload", params={"model_id": "broken"})
    assert (answer.status_code, answer.json()["error"]) == (503, "Service Unavailable")
    assert "twin keeps serving" in answer.json()["message"]
    assert client.post("/generate", json=QUESTION).json()["model_version"] == "twin"
    assert len(service.engine_processes()) == 1


def test_a_stop_signal_leaves_nothing_behind(service: MlServiceProcess, client: httpx.Client) -> None:
    family = service.family()
    os.kill(service.process.pid or 0, signal.SIGTERM)
    eventually(lambda: service.process.exit_code is not None)
    assert service.process.exit_code == 0
    eventually(lambda: not any(process.is_running() for process in family))
    assert "Traceback" not in service.log().split("Shutting down")[-1]


class TestWhileLoading:
    """A service is killed or stopped before its model is there."""

    @pytest.fixture
    def starting(self, run_folder: Path, redis_url: str) -> Iterator[MlServiceProcess]:
        process = MlServiceProcess(run_folder, redis_url=redis_url)
        process.process.start()
        eventually(lambda: process.health_status("/health/live") == 200)
        yield process
        process.stop()

    def test_it_is_alive_but_not_ready_and_can_be_stopped(self, starting: MlServiceProcess) -> None:
        health = httpx.get(f"{starting.url}/health", timeout=PATIENCE_SECONDS)
        assert (health.status_code, health.json()["status"]) == (503, "loading")
        with starting.client() as client:
            refused = client.post("/generate", json=QUESTION)
        assert (refused.status_code, refused.json()["message"]) == (503, "The model is still being loaded")
        os.kill(starting.process.pid or 0, signal.SIGTERM)
        eventually(lambda: starting.process.exit_code is not None)
        assert starting.process.exit_code == 0

    def test_a_second_signal_ends_it_at_once(self, starting: MlServiceProcess) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(starting.process.pid or 0, number)
        eventually(lambda: starting.process.exit_code is not None)

    def test_a_killed_service_leaves_no_engine_behind(self, starting: MlServiceProcess) -> None:
        eventually(lambda: bool(starting.engine_processes()), ENGINE_SECONDS)
        family = starting.family()
        starting.kill_alone()
        eventually(lambda: not any(process.is_running() for process in family))
