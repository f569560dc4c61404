"""The real trainer while everything around it dies: a training goes on or ends with a sentence, and never hangs."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest

from deploy.local.servers import EmbeddedValkey
from shared.contracts.training import TrainingState
from tests.fixtures.ml_service import data_folder
from tests.fixtures.processes import gone
from tests.fixtures.redis_client import Redis
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.training import STYLE, style_samples
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually
from tests.fixtures.workers import TrainingWorkerProcess
from tests.ml_service.jobs.trainings import published, start, state, statuses, wait_for

LEASE_SECONDS = 2.0
PROMISED_SECONDS = 5.0
"""In which a cancelled training has ended."""
TRAINING_SECONDS = 900.0
"""How long a training of some steps may take where there is little processor."""
MODEL_BYTES = 300 * 2**20
"""What a trainer has in memory when its model is loaded, at the least."""

pytestmark = pytest.mark.timeout(3600)


class TrainingSystem:
    """A Valkey, an ML service and a training worker with the real trainer; each can be hurt."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.data_dir = data_folder(folder / "data")
        self.valkey = EmbeddedValkey(folder / "valkey", folder / "valkey.log")
        self.ml = ScriptedMlService(folder, self.valkey.url, data_dir=str(self.data_dir))
        self.worker = self._new_worker()

    def _new_worker(self) -> TrainingWorkerProcess:
        return TrainingWorkerProcess(
            self._folder,
            redis_url=self.valkey.url,
            ml_service_url=self.ml.url,
            data_dir=str(self.data_dir),
            job_lease_seconds=str(LEASE_SECONDS),
            training_priority="normal",
            training_threads="1",
        )

    def checkpoints(self, job_id: str) -> list[Path]:
        """The job's complete ones."""
        return list((self.data_dir / "training" / job_id).glob("checkpoints/*/complete"))

    def trainer_with_checkpoint(self, job_id: str) -> psutil.Process:
        """The trainer, once it has left something to go on from and is not done."""
        eventually(lambda: bool(self.checkpoints(job_id)), TRAINING_SECONDS)
        trainer = self.worker.trainer()
        assert trainer is not None
        return trainer


@pytest.fixture(scope="module")
def training_system(run_folder: Path, smollm2: Path) -> Iterator[TrainingSystem]:
    system = TrainingSystem(run_folder / "training-faults")
    try:
        for part in (system.valkey, system.ml, system.worker):
            part.start()
        yield system
    finally:
        for part in (system.worker, system.ml, system.valkey):
            part.stop()


@pytest.fixture
def system(training_system: TrainingSystem) -> Iterator[TrainingSystem]:
    """Nothing of a job is left when it has ended, and no log tells what was in it."""
    yield training_system
    eventually(lambda: not any((training_system.data_dir / "training").iterdir()))
    log = training_system.worker.log()
    assert "Traceback" not in log
    assert STYLE not in log


@pytest.fixture
def client(system: TrainingSystem) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=system.ml.url, timeout=PATIENCE_SECONDS) as client:
        yield client


@pytest.fixture
def redis(system: TrainingSystem) -> Iterator[Redis]:
    with Redis.from_url(system.valkey.url) as redis:
        yield redis


def train(client: httpx.Client, epochs: int = 2) -> str:
    """Have a training of some seconds accepted, of three steps an epoch; its id."""
    samples = msgspec.to_builtins(style_samples()[:12])
    return start(client, samples=samples, epochs=epochs, learning_rate=1e-3)


def assert_completed(end: TrainingState) -> None:
    assert (end.status, end.error) == ("completed", None)
    assert end.adapter_id == end.job_id
    assert end.step == end.total_steps > 0
    assert end.eval_loss is not None
    assert end.baseline_eval_loss is not None
    assert end.eval_loss < end.baseline_eval_loss


def ended(client: httpx.Client, job_id: str) -> TrainingState:
    return wait_for(client, job_id, "completed", "failed", "cancelled", seconds=TRAINING_SECONDS)


def test_the_trainer_is_killed_then_the_worker_and_the_training_goes_on_from_its_checkpoint(
    system: TrainingSystem, client: httpx.Client, redis: Redis
) -> None:
    job_id = train(client)
    first = system.trainer_with_checkpoint(job_id)

    first.kill()
    eventually(lambda: (second := system.worker.trainer()) is not None and second.pid != first.pid)
    second = system.trainer_with_checkpoint(job_id)
    system.worker.kill()
    eventually(lambda: gone(second))
    checkpoints = system.checkpoints(job_id)
    system.worker.start()

    assert_completed(ended(client, job_id))
    assert checkpoints
    steps = [event.state.step for event in published(redis, job_id)]
    assert steps == sorted(steps)
    assert statuses(redis, job_id).count("queued") == 2


@pytest.mark.slow  # in the suite a scripted trainer does not mind, see tests/ml_service/jobs/test_training_worker.py
def test_the_ml_service_and_valkey_are_killed_and_the_trainer_does_not_mind(
    system: TrainingSystem, client: httpx.Client, redis: Redis
) -> None:
    deaths = system.worker.log().count("trainer died")
    job_id = train(client)
    system.trainer_with_checkpoint(job_id)

    system.ml.kill()
    system.valkey.kill()
    time.sleep(1)
    system.valkey.start()
    system.ml.start()

    assert_completed(ended(client, job_id))
    assert system.worker.log().count("trainer died") == deaths
    assert statuses(redis, job_id)[-1] == "completed"


@pytest.mark.slow  # in the suite a scripted trainer dies so, see tests/ml_service/jobs/test_training_worker.py
def test_a_trainer_that_is_killed_again_and_again_fails_with_a_sentence(system: TrainingSystem, client: httpx.Client) -> None:
    job_id = train(client)
    killed: set[int] = set()

    def kill_next() -> bool:
        trainer = system.worker.trainer()
        if trainer is not None and trainer.pid not in killed:
            killed.add(trainer.pid)
            trainer.kill()
        return state(client, job_id).completed_at is not None

    eventually(kill_next, TRAINING_SECONDS)

    end = state(client, job_id)
    assert (end.status, end.adapter_id) == ("failed", None)
    assert end.error is not None
    assert "memory" in end.error
    assert len(killed) == 3


# In the suite a scripted trainer is cancelled so, and the real one asked to end, see tests/ml_service/training/test_training.py.
@pytest.mark.slow
@pytest.mark.parametrize("hung", [False, True])
def test_cancelling_ends_the_trainer_within_five_seconds_frees_its_memory_and_lets_the_next_one_begin(
    system: TrainingSystem, client: httpx.Client, hung: bool
) -> None:
    job_id, next_id = train(client), train(client, epochs=1)
    eventually(lambda: (trainer := system.worker.trainer()) is not None and trainer.memory_info().rss > MODEL_BYTES, TRAINING_SECONDS)
    trainer = system.worker.trainer()
    assert trainer is not None
    family = [trainer, *trainer.children(recursive=True)]
    if hung:
        os.kill(trainer.pid, signal.SIGSTOP)
    assert state(client, next_id).status == "queued"

    assert client.post(f"/training/cancel/{job_id}").json()["status"] == "cancelled"
    eventually(lambda: all(gone(each) for each in family), 4 * PROMISED_SECONDS)

    if hung:
        client.post(f"/training/cancel/{next_id}")
        return
    assert_completed(ended(client, next_id))
    first, second = state(client, job_id), state(client, next_id)
    assert first.status == "cancelled"
    assert first.completed_at is not None
    assert second.started_at is not None
    assert first.completed_at <= second.started_at
