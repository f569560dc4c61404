"""Whatever dies, what was accepted ends, once."""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx

from tests.fixtures.redis_client import Redis
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.servers import Server
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually
from tests.fixtures.workers import WorkerProcess
from tests.ml_service.jobs.conftest import LEASE_SECONDS, ask, events, wait_for_disk, wait_for_ends, wait_for_status

StartWorker = Callable[..., WorkerProcess]


def assert_each_completed_once(redis: Redis, job_ids: list[str]) -> None:
    time.sleep(0.5)  # what comes twice comes later
    published = events(redis)
    assert Counter(event.job_id for event in published if event.type == "completed") == dict.fromkeys(job_ids, 1)
    assert {event.type for event in published} <= {"generating", "token", "completed"}
    last = {event.job_id: event.type for event in published}
    assert set(last.values()) == {"completed"}


def test_workers_are_killed_again_and_again_while_a_hundred_jobs_run(
    client: httpx.Client, model: ScriptedMlService, jobs_redis: Redis, start_worker: StartWorker
) -> None:
    model.pace(0.02)
    workers = [start_worker(worker_jobs="6") for _ in range(2)]
    job_ids = [ask(client, prompt=uuid4().hex, publish_tokens=number % 2 == 0) for number in range(100)]
    chance = random.Random(1)
    kills = 0
    for _ in range(8):
        time.sleep(chance.uniform(0.2, 0.6))
        worker = chance.choice(workers)
        worker.kill()
        worker.start()
        kills += 1
    wait_for_ends(jobs_redis, 100)
    assert_each_completed_once(jobs_redis, job_ids)
    assert kills == 8


def test_the_jobs_of_a_killed_worker_are_redelivered(
    client: httpx.Client, model: ScriptedMlService, jobs_redis: Redis, start_worker: StartWorker
) -> None:
    """A generation takes minutes, a redelivery the lease and half of it more."""
    model.pace(60)
    first = start_worker()
    job_id = ask(client, prompt=uuid4().hex)
    wait_for_status(client, job_id, "generating")
    start_worker()
    time.sleep(LEASE_SECONDS)

    first.kill()
    begin = time.monotonic()
    while sum(event.type == "generating" for event in events(jobs_redis, job_id)) < 2:
        assert time.monotonic() - begin < PATIENCE_SECONDS
        time.sleep(0.01)
    client.post(f"/generate/cancel/{job_id}")


def test_a_worker_that_is_told_to_stop_hands_its_jobs_back_at_once(
    client: httpx.Client, model: ScriptedMlService, jobs_redis: Redis, start_worker: StartWorker
) -> None:
    aborted = model.aborted_before()
    model.pace(1)
    first = start_worker(job_lease_seconds="60")
    job_ids = [ask(client, prompt=uuid4().hex, use_cache=False) for _ in range(10)]  # or the second joins the first's generations
    for job_id in job_ids:
        wait_for_status(client, job_id, "generating")
    start_worker(job_lease_seconds="60")

    begin = time.monotonic()
    first.terminate()
    while sum(event.type == "generating" for event in events(jobs_redis)) < 20:
        assert time.monotonic() - begin < 30
        time.sleep(0.01)

    model.pace(0)
    wait_for_ends(jobs_redis, 10)
    assert_each_completed_once(jobs_redis, job_ids)
    eventually(lambda: model.aborted == aborted + 10)
    first.process.wait_until(lambda: first.process.exit_code == 0, timeout=PATIENCE_SECONDS)
    assert "Traceback" not in first.log()


def test_redis_is_killed_and_started_again(
    jobs_server: Server, client: httpx.Client, model: ScriptedMlService, jobs_redis: Redis, start_worker: StartWorker
) -> None:
    model.pace(0.05)
    workers = [start_worker(worker_jobs="4") for _ in range(2)]
    job_ids = [ask(client, prompt=uuid4().hex) for _ in range(40)]
    wait_for_ends(jobs_redis, 5)
    wait_for_disk(jobs_redis)

    jobs_server.kill()
    refused = client.post("/generate/async", json={"prompt": "a"})
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    time.sleep(2)
    jobs_server.start()

    job_ids.append(ask(client, prompt=uuid4().hex))
    wait_for_ends(jobs_redis, 41)
    assert_each_completed_once(jobs_redis, job_ids)
    assert all(worker.process.running for worker in workers)
    assert "Traceback" not in "".join(worker.log() for worker in workers)


def test_a_worker_can_be_started_and_stopped_while_redis_is_away(
    run_folder: Path, jobs_server: Server, client: httpx.Client, jobs_redis: Redis, model: ScriptedMlService, start_worker: StartWorker
) -> None:
    model.pace(10)
    running = start_worker()
    job_id = ask(client, prompt=uuid4().hex)
    wait_for_status(client, job_id, "generating")
    starting = WorkerProcess(run_folder, redis_url=jobs_server.url, ml_service_url=model.url, job_lease_seconds=str(LEASE_SECONDS))
    wait_for_disk(jobs_redis)
    jobs_server.kill()
    try:
        starting.process.start()
        running.process.stop()
        assert running.process.exit_code == 0  # and was not killed in the end
        assert "Traceback" not in running.log()
        assert starting.process.running
    finally:
        jobs_server.start()
    model.pace(0)
    try:
        wait_for_status(client, job_id, "completed")
    finally:
        starting.stop()


def test_the_ml_service_is_killed_while_jobs_run(
    run_folder: Path, jobs_server: Server, client: httpx.Client, jobs_redis: Redis, start_worker: StartWorker
) -> None:
    service = ScriptedMlService(run_folder, jobs_server.url)
    service.start()
    try:
        service.pace(0.05)
        start_worker(ml_service_url=service.url, worker_jobs="8")
        job_ids = [ask(client, prompt=uuid4().hex) for _ in range(30)]
        wait_for_ends(jobs_redis, 3)
        service.kill()
        service.start()
        wait_for_ends(jobs_redis, 30)
    finally:
        service.stop()
    assert_each_completed_once(jobs_redis, job_ids)
