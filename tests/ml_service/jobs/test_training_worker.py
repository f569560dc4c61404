"""Real workers with a scripted trainer, on a real Valkey and a real adapter store."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from ml_service.adapters.store import AdapterStore
from ml_service.models.catalogue import builtin_catalogue
from ml_service.settings import Settings
from tests.fixtures.ml_service import data_folder
from tests.fixtures.ports import free_port
from tests.fixtures.processes import gone
from tests.fixtures.redis_client import Redis
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.scripted_training import BALLAST_BYTES, STEPS
from tests.fixtures.servers import Server
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually
from tests.fixtures.workers import ScriptedTrainingWorker
from tests.ml_service.jobs.conftest import LEASE_SECONDS, wait_for_disk
from tests.ml_service.jobs.trainings import SCOPE, SECRET, published, start, state, statuses, wait_for

StartWorker = Callable[..., ScriptedTrainingWorker]


@pytest.fixture
def data_dir(tmp_path: Path, smollm2: Path) -> Path:
    """A data folder of its own, in which the model is unpacked already."""
    return data_folder(tmp_path / "data")


@pytest.fixture
def work(run_folder: Path, jobs_server: Server, model: ScriptedMlService, data_dir: Path) -> Iterator[StartWorker]:
    """Starts training workers, given further settings, and stops them in the end. No log of theirs shows a sample."""
    workers: list[ScriptedTrainingWorker] = []

    def begin(**settings: str) -> ScriptedTrainingWorker:
        defaults = {"job_lease_seconds": str(LEASE_SECONDS), "data_dir": str(data_dir), "ml_service_url": model.url}
        worker = ScriptedTrainingWorker(run_folder, redis_url=jobs_server.url, **{**defaults, **settings})
        workers.append(worker)
        worker.start()
        return worker

    yield begin
    for worker in workers:
        worker.stop()
        assert SECRET not in worker.log()
        assert "Traceback" not in worker.log()


def adapters(data_dir: Path, scope: str = SCOPE) -> list[str]:
    """The ids of a scope's adapters."""

    async def look() -> list[str]:
        store = AdapterStore.open(Settings(data_dir=str(data_dir)), builtin_catalogue())
        return [stored.adapter_id for stored in await store.of_scope(scope)]

    return asyncio.run(look())


def left_in(data_dir: Path) -> list[str]:
    """The folders of jobs."""
    folder = data_dir / "training"
    return [each.name for each in folder.iterdir()] if folder.exists() else []


def trainer_at_step(worker: ScriptedTrainingWorker, data_dir: Path, job_id: str, step: int) -> psutil.Process:
    """The trainer, once it has made so many steps."""
    steps = data_dir / "training" / job_id / "checkpoints" / "steps"
    eventually(lambda: steps.exists() and steps.read_text().count("step") >= step)
    trainer = worker.trainer()
    assert trainer is not None
    return trainer


def test_a_training_ends_with_an_adapter_and_leaves_nothing_else(
    client: httpx.Client, jobs_redis: Redis, work: StartWorker, data_dir: Path
) -> None:
    work()
    job_id = start(client)

    end = wait_for(client, job_id, "completed", "failed")

    assert (end.status, end.error, end.adapter_id, end.progress) == ("completed", None, job_id, 100)
    assert (end.eval_loss, end.baseline_eval_loss, end.step, len(end.history)) == (1.0, 2.0, STEPS, STEPS)
    assert adapters(data_dir) == [job_id]
    assert published(jobs_redis, job_id)[-1].state == end
    assert statuses(jobs_redis, job_id)[:2] == ["queued", "training"]
    assert statuses(jobs_redis, job_id)[-1] == "completed"
    eventually(lambda: left_in(data_dir) == [])


def test_progress_is_reported_while_it_trains_and_not_too_often(
    client: httpx.Client, jobs_redis: Redis, work: StartWorker, data_dir: Path
) -> None:
    worker = work(training_priority="idle")
    job_id = start(client, "slow")
    trainer = trainer_at_step(worker, data_dir, job_id, 1)
    folder = data_dir / "training" / job_id
    modes = {each.name: each.stat().st_mode & 0o777 for each in (folder, folder / "samples.jsonl", folder / "spec.json")}
    policy, environment = os.sched_getscheduler(trainer.pid), trainer.environ()
    wait_for(client, job_id, "completed")

    steps = [event.state.step for event in published(jobs_redis, job_id)]
    assert steps == sorted(steps)
    assert len(set(steps)) >= 4
    assert len(steps) <= 20
    assert modes == {job_id: 0o700, "samples.jsonl": 0o600, "spec.json": 0o600}
    assert policy == os.SCHED_IDLE
    assert not {"ML_SERVICE_TOKEN", "REDIS_URL", "DATABASE_URL"} & set(environment)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("fail", "The loss is no number any more"),
        ("leave", "ended with code 3"),
        ("die always", "most likely because memory ran out"),
        ("cut off", "cut off"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence_and_the_worker_lives_on(
    client: httpx.Client, work: StartWorker, data_dir: Path, script: str, words: str
) -> None:
    work()
    failed_id, next_id = start(client, script), start(client)

    failed = wait_for(client, failed_id, "completed", "failed")

    assert failed.status == "failed"
    assert failed.error is not None
    assert words in failed.error
    assert failed.adapter_id is None
    assert wait_for(client, next_id, "completed", "failed").status == "completed"
    assert adapters(data_dir) == [next_id]
    eventually(lambda: left_in(data_dir) == [])


def test_a_killed_trainer_goes_on_from_its_checkpoint(client: httpx.Client, jobs_redis: Redis, work: StartWorker, data_dir: Path) -> None:
    worker = work()
    job_id = start(client, "die once")
    assert wait_for(client, job_id, "completed", "failed").status == "completed"
    assert worker.log().count("trainer died") == 1
    assert adapters(data_dir) == [job_id]


def test_several_processes_are_started_by_accelerate(client: httpx.Client, work: StartWorker, data_dir: Path) -> None:
    """Without GPUs accelerate starts one, in the same way."""
    worker = work(training_processes="2")
    job_id = start(client, "slow")
    eventually(lambda: (launcher := worker.trainer()) is not None and bool(launcher.children()))
    launcher = worker.trainer()
    assert launcher is not None
    [trainer] = launcher.children()
    assert "accelerate.commands.launch" in launcher.cmdline()

    client.post(f"/training/cancel/{job_id}")

    eventually(lambda: gone(launcher) and gone(trainer))
    assert wait_for(client, start(client), "completed", "failed").status == "completed"


def test_a_silent_trainer_is_started_again_and_given_up_in_the_end(client: httpx.Client, work: StartWorker) -> None:
    worker = work(training_stall_seconds="6")  # the start counts, too
    job_id = start(client, "hang")
    failed = wait_for(client, job_id, "completed", "failed")
    assert (failed.status, failed.step) == ("failed", 4)
    assert failed.error is not None
    assert "no sign of life" in failed.error
    assert worker.log().count("trainer died") == 3
    assert worker.trainer() is None


def test_cancelling_ends_the_process_within_five_seconds_and_frees_its_memory(
    client: httpx.Client, jobs_redis: Redis, work: StartWorker, data_dir: Path
) -> None:
    worker = work()
    job_id = start(client, "ignore stop")
    eventually(lambda: (trainer := worker.trainer()) is not None and trainer.memory_info().rss > BALLAST_BYTES)
    trainer = worker.trainer()
    assert trainer is not None

    assert client.post(f"/training/cancel/{job_id}").json()["status"] == "cancelled"
    trainer.wait(timeout=4 * 5)
    assert not psutil.pid_exists(trainer.pid)
    eventually(lambda: left_in(data_dir) == [])
    assert statuses(jobs_redis, job_id) == ["queued", "training", "cancelled"]
    assert adapters(data_dir) == []
    assert wait_for(client, start(client), "completed", "failed").status == "completed"


def wait_for_adapter(client: httpx.Client, data_dir: Path, job_id: str) -> None:
    """Until the trainer has written one, or it is all over already."""
    weights = data_dir / "training" / job_id / "adapter" / "adapter_model.safetensors"
    eventually(lambda: weights.exists() or state(client, job_id).completed_at is not None)


def test_there_is_an_adapter_only_if_the_job_is_completed_whenever_it_is_cancelled(
    client: httpx.Client, work: StartWorker, data_dir: Path
) -> None:
    work()
    for number in range(6):
        job_id = start(client)
        wait_for_adapter(client, data_dir, job_id)
        time.sleep(number * 0.01)
        client.post(f"/training/cancel/{job_id}")
        eventually(lambda: left_in(data_dir) == [])
        kept = [job_id] if state(client, job_id).status == "completed" else []
        assert [each for each in adapters(data_dir) if each == job_id] == kept


def test_two_trainings_run_one_after_the_other(client: httpx.Client, jobs_redis: Redis, work: StartWorker) -> None:
    work()
    first, second = start(client, "slow"), start(client, "quick", scope="ben")
    wait_for(client, first, "training")
    assert state(client, second).status == "queued"
    ends = [wait_for(client, job_id, "completed") for job_id in (first, second)]
    assert ends[0].completed_at is not None
    assert ends[1].started_at is not None
    assert ends[0].completed_at <= ends[1].started_at


def test_a_killed_workers_trainer_dies_with_it_and_another_worker_goes_on_from_the_checkpoint(
    client: httpx.Client, jobs_redis: Redis, work: StartWorker, data_dir: Path
) -> None:
    first = work()
    job_id = start(client, "slow")
    trainer = trainer_at_step(first, data_dir, job_id, 3)
    work()

    first.kill()

    eventually(lambda: gone(trainer))
    end = wait_for(client, job_id, "completed", "failed")
    assert (end.status, end.step) == ("completed", STEPS)
    assert statuses(jobs_redis, job_id).count("queued") == 2
    progress = [event.state.step for event in published(jobs_redis, job_id) if event.state.status == "training"]
    assert progress == sorted(progress)


def test_a_job_whose_workers_keep_dying_fails(client: httpx.Client, jobs_redis: Redis, work: StartWorker, data_dir: Path) -> None:
    job_id = start(client, "slow")
    jobs_redis.hset(f"jobs:training:job:{job_id}", "lost_leases", 3)
    work()
    failed = wait_for(client, job_id, "completed", "failed")
    assert failed.error is not None
    assert "each time its worker died" in failed.error


def test_a_worker_that_is_told_to_stop_hands_its_job_over(
    client: httpx.Client, jobs_redis: Redis, work: StartWorker, data_dir: Path
) -> None:
    first = work(job_lease_seconds="60")
    job_id = start(client, "slow")
    trainer = trainer_at_step(first, data_dir, job_id, 3)
    work(job_lease_seconds="60")

    first.terminate()

    first.process.wait_until(lambda: first.process.exit_code == 0, timeout=PATIENCE_SECONDS)
    assert not psutil.pid_exists(trainer.pid)
    assert wait_for(client, job_id, "completed", "failed").status == "completed"
    assert statuses(jobs_redis, job_id).count("queued") == 2
    assert adapters(data_dir) == [job_id]


def test_a_worker_that_was_taken_for_dead_gives_way(client: httpx.Client, jobs_redis: Redis, work: StartWorker, data_dir: Path) -> None:
    """Paused for longer than its lease; its trainer is not, and is ended by the next one."""
    first = work()
    job_id = start(client, "slow")
    trainer = trainer_at_step(first, data_dir, job_id, 2)
    second = work()
    assert first.process.pid is not None
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        eventually(lambda: second.trainer() is not None)
        eventually(lambda: gone(trainer))
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    assert wait_for(client, job_id, "completed", "failed").status == "completed"
    assert adapters(data_dir) == [job_id]
    assert statuses(jobs_redis, job_id)[-1] == "completed"


def test_redis_and_the_ml_service_are_killed_in_the_middle(
    jobs_server: Server, model: ScriptedMlService, client: httpx.Client, jobs_redis: Redis, work: StartWorker, data_dir: Path
) -> None:
    worker = work()
    job_id = start(client, "slow")
    trainer_at_step(worker, data_dir, job_id, 2)
    wait_for_disk(jobs_redis)
    model.kill()
    jobs_server.kill()
    time.sleep(2)
    jobs_server.start()
    model.start()
    assert wait_for(client, job_id, "completed", "failed").status == "completed"
    assert worker.log().count("trainer died") == 0
    assert statuses(jobs_redis, job_id)[-1] == "completed"


def test_the_engine_sleeps_while_something_trains_if_asked_to(client: httpx.Client, jobs_redis: Redis, work: StartWorker) -> None:
    def engine() -> str:
        return str(client.get("/health").json()["engine"])

    work(training_gpu="sleep")
    job_id = start(client, "slow")
    eventually(lambda: engine() == "sleeping")
    assert wait_for(client, job_id, "completed", "failed").status == "completed"
    eventually(lambda: engine() == "ready")


def test_a_training_does_not_wait_for_a_service_that_cannot_sleep(client: httpx.Client, jobs_redis: Redis, work: StartWorker) -> None:
    worker = work(training_gpu="sleep", ml_service_url=f"http://127.0.0.1:{free_port()}")
    assert wait_for(client, start(client), "completed", "failed").status == "completed"
    assert "engine not reached" in worker.log()


def test_forgetting_a_scope_ends_its_training(client: httpx.Client, work: StartWorker, data_dir: Path) -> None:
    worker = work()
    job_id = start(client, "slow")
    trainer = trainer_at_step(worker, data_dir, job_id, 2)
    assert client.post("/forget", json={"scope": SCOPE, "extent": "everything"}).json() == {"complete": True}
    eventually(lambda: gone(trainer) and left_in(data_dir) == [])
    assert adapters(data_dir) == []


def test_what_forgotten_jobs_have_left_is_removed_at_the_start(work: StartWorker, jobs_redis: Redis, data_dir: Path) -> None:
    folder = data_dir / "training" / "forgotten"
    folder.mkdir(parents=True)
    (folder / "samples.jsonl").write_text(SECRET)
    work()
    assert left_in(data_dir) == []
