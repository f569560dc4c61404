"""Real workers, a real ML service over a scripted engine, a real Valkey."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from redis.asyncio import Redis as AsyncRedis

from ml_service.jobs.generation_queue import GenerationQueue
from ml_service.settings import Settings
from shared.contracts.jobs import AsyncGenerateRequest
from shared.replicas import by_preference
from tests.fixtures.ports import free_port
from tests.fixtures.redis_client import Redis
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.servers import Server
from tests.fixtures.waiting import WITHIN_A_SECOND, eventually
from tests.fixtures.workers import WorkerProcess
from tests.ml_service.jobs.conftest import ask, events, state, wait_for_ends, wait_for_status

StartWorker = Callable[..., WorkerProcess]


async def fill(settings: Settings, scope: str, jobs: int) -> list[str]:
    """Put jobs of one scope into the queue, faster than over HTTP; their ids."""
    async with AsyncRedis.from_url(settings.redis_url) as redis:
        queue = GenerationQueue(redis, settings)
        return [await queue.enqueue(AsyncGenerateRequest(prompt=f"{number}", scope=scope, max_tokens=4)) for number in range(jobs)]


def test_a_job_completes_and_says_what_generate_would(client: httpx.Client, jobs_redis: Redis, start_worker: StartWorker) -> None:
    start_worker()
    job_id = ask(client, scope="anna")

    done = wait_for_status(client, job_id, "completed")

    direct = client.post("/generate", json={"prompt": "Them: Hello\nMe:", "use_cache": False}).json()
    assert done.result is not None
    assert (done.result.response, done.result.confidence) == (direct["response"], direct["confidence"])
    assert [(event.type, event.scope) for event in events(jobs_redis, job_id)] == [("generating", "anna"), ("completed", "anna")]
    assert events(jobs_redis, job_id)[-1].result == done.result


def test_a_worker_serves_its_own_metrics(client: httpx.Client, model: ScriptedMlService, start_worker: StartWorker) -> None:
    port = free_port()
    start_worker(metrics_port=str(port))
    wait_for_status(client, ask(client), "completed")
    model.pace(0.5)
    running = ask(client, prompt="Something else")  # the answer to the first is kept
    wait_for_status(client, running, "generating")

    def told(line: str) -> bool:
        return line in httpx.get(f"http://127.0.0.1:{port}/metrics").text

    eventually(lambda: told('ml_worker_jobs_running{queue="generation"} 1.0'))
    client.post(f"/generate/cancel/{running}").raise_for_status()
    eventually(lambda: told('ml_worker_jobs_running{queue="generation"} 0.0'))
    assert told('ml_worker_run_seconds_count{end="completed",queue="generation"} 1.0')
    assert told('ml_worker_run_seconds_count{end="stopped",queue="generation"} 1.0')


def test_tokens_are_published_if_asked_for(
    client: httpx.Client, model: ScriptedMlService, jobs_redis: Redis, start_worker: StartWorker
) -> None:  # fmt: skip
    start_worker()
    model.pace(0.1)  # or tokens that come together are published together
    job_id = ask(client, publish_tokens=True, n=2)

    done = wait_for_status(client, job_id, "completed")

    published = events(jobs_redis, job_id)
    assert [event.type for event in published] == ["generating", *["token"] * (len(published) - 2), "completed"]
    assert [event.sequence for event in published[1:-1]] == list(range(len(published) - 2))
    assert len(published) > 6
    assert done.result is not None
    for index, candidate in enumerate(done.result.candidates):
        assert "".join(event.text or "" for event in published if event.type == "token" and event.index == index) == candidate.text


def test_a_running_job_that_is_cancelled_frees_the_engine(
    client: httpx.Client, model: ScriptedMlService, jobs_redis: Redis, start_worker: StartWorker
) -> None:
    for _ in range(2):
        start_worker(job_lease_seconds="30")
    aborted = model.aborted_before()
    model.pace(5)
    job_ids = [ask(client, prompt=f"number {number}") for number in range(4)]
    for job_id in job_ids:
        wait_for_status(client, job_id, "generating")
    eventually(lambda: model.running == 4)

    for job_id in job_ids:
        assert client.post(f"/generate/cancel/{job_id}").json()["status"] == "cancelled"

    eventually(lambda: model.aborted == aborted + 4, WITHIN_A_SECOND)  # an answer takes a minute
    for job_id in job_ids:
        assert [event.type for event in events(jobs_redis, job_id)] == ["generating", "cancelled"]
        assert client.post(f"/generate/cancel/{job_id}").status_code == 409


def test_a_finished_job_cannot_be_cancelled(client: httpx.Client, jobs_redis: Redis, start_worker: StartWorker) -> None:
    start_worker()
    job_id = ask(client)
    wait_for_status(client, job_id, "completed")
    assert client.post(f"/generate/cancel/{job_id}").status_code == 409
    assert state(client, job_id).status == "completed"
    assert [event.type for event in events(jobs_redis, job_id)] == ["generating", "completed"]


def test_a_job_cancelled_while_it_waits_never_runs(
    client: httpx.Client, model: ScriptedMlService, jobs_redis: Redis, start_worker: StartWorker
) -> None:
    before = model.generations
    job_id = ask(client, prompt=uuid4().hex)
    client.post(f"/generate/cancel/{job_id}")
    start_worker()
    other = ask(client, prompt=uuid4().hex)
    wait_for_status(client, other, "completed")
    assert model.generations == before + 1
    assert [event.type for event in events(jobs_redis, job_id)] == ["cancelled"]


def test_what_the_model_refuses_fails_with_its_reason(client: httpx.Client, jobs_redis: Redis, start_worker: StartWorker) -> None:
    job_id = ask(client)
    # It was accepted when it fitted: since then a model with a smaller window has been loaded.
    jobs_redis.hset(f"jobs:generation:job:{job_id}", "request", b'{"prompt":"%s","stream":true}' % (b"a" * 5000))

    start_worker()

    failed = wait_for_status(client, job_id, "failed")
    assert failed.error is not None
    assert "prompt" in failed.error
    assert [event.type for event in events(jobs_redis, job_id)] == ["generating", "failed"]


def test_jobs_wait_for_a_model_that_is_away(
    run_folder: Path, jobs_server: Server, client: httpx.Client, jobs_redis: Redis, start_worker: StartWorker
) -> None:
    service = ScriptedMlService(run_folder, jobs_server.url)
    service.start()
    try:
        service.pace(0.1)
        start_worker(ml_service_url=service.url)
        job_id = ask(client, publish_tokens=True, prompt=uuid4().hex)
        eventually(lambda: any(event.type == "token" for event in events(jobs_redis, job_id)))
        service.kill()
        time.sleep(0.5)
        assert state(client, job_id).status == "generating"
        service.start()
        done = wait_for_status(client, job_id, "completed")
    finally:
        service.stop()
    published = events(jobs_redis, job_id)
    assert Counter(event.type for event in published if event.type != "token") == {"generating": 2, "completed": 1}
    begun_anew = max(number for number, event in enumerate(published) if event.type == "generating")
    assert done.result is not None
    assert "".join(event.text or "" for event in published[begun_anew:]) == done.result.response


def test_a_job_for_which_there_is_no_model_for_too_long_fails(client: httpx.Client, start_worker: StartWorker) -> None:
    start_worker(ml_service_url=f"http://127.0.0.1:{free_port()}", job_patience_seconds="0.5")
    failed = wait_for_status(client, ask(client), "failed")
    assert failed.error == "The model is not reachable"


def test_two_workers_and_two_models_share_the_work(
    run_folder: Path, jobs_server: Server, client: httpx.Client, model: ScriptedMlService, jobs_redis: Redis, start_worker: StartWorker
) -> None:
    second = ScriptedMlService(run_folder, jobs_server.url)
    second.start()
    try:
        urls = f"{model.url},{second.url}"
        workers = [start_worker(ml_service_url=urls, worker_jobs="8", job_lease_seconds="30") for _ in range(2)]
        for service in (model, second):
            service.pace(0.01)
        before = model.generations, second.generations
        scopes = [uuid4().hex for _ in range(40)]
        for scope in scopes:
            ask(client, scope=scope, prompt=uuid4().hex)
        ends = wait_for_ends(jobs_redis, 40)
        done = model.generations - before[0], second.generations - before[1]
    finally:
        second.stop()
    assert Counter(event.type for event in ends) == {"completed": 40}
    assert done[0] == sum(by_preference(scope, [model.url, second.url])[0] == model.url for scope in scopes)
    assert sum(done) == 40
    assert min(worker.log().count("job run") for worker in workers) > 0
    assert "Hello" not in "".join(worker.log() for worker in workers)


def test_one_scope_with_a_thousand_jobs_does_not_hold_up_another(
    client: httpx.Client, model: ScriptedMlService, jobs_redis: Redis, jobs_settings: Settings, start_worker: StartWorker
) -> None:
    model.pace(0.005)
    asyncio.run(fill(jobs_settings, "greedy", 1000))
    start_worker(worker_jobs="8")
    wait_for_ends(jobs_redis, 16)

    modest = asyncio.run(fill(jobs_settings, "modest", 10))
    for job_id in modest:
        wait_for_status(client, job_id, "completed")

    assert client.get("/health").json()["queue_length"] > 0
    begun = [event.scope for event in events(jobs_redis) if event.type == "generating"]
    turns = [turn for turn, scope in enumerate(begun) if scope == "modest"]
    assert turns[-1] - turns[0] <= 3 * len(turns)


@pytest.mark.parametrize("arguments", [[], ["nothing"]])
def test_the_worker_says_what_it_can_do(arguments: list[str]) -> None:
    said = subprocess.run([sys.executable, "-m", "ml_service.jobs", *arguments], capture_output=True, text=True)
    assert said.returncode == 2
    assert "generation" in said.stderr
