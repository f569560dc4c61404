"""What the tests of more than one slice need."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories import Device, paired_device
from tests.fixtures.gateway import JWT_KEYS, GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.training_system import TrainingSystem, running_training_system

METRICS_TOKEN = "read-the-metrics"
NEWER_KEY = "newer:" + "n" * 32


@pytest.fixture(scope="session")
def second_gateway(run_folder: Path, database_url: str, redis_url: str) -> Iterator[GatewayProcess]:
    """A replica on the same data, set up otherwise: a newer signing key, closed registration, behind a proxy, with metrics."""
    process = GatewayProcess(
        run_folder,
        database_url=database_url,
        redis_url=redis_url,
        ml_service_url=f"http://127.0.0.1:{free_port()}",
        jwt_keys=f"{NEWER_KEY},{JWT_KEYS}",
        registration="closed",
        trusted_proxies="127.0.0.1",
        metrics_token=METRICS_TOKEN,
    )
    process.start()
    yield process
    process.stop()


@pytest.fixture
def owner(drafting_gateway: GatewayProcess) -> Device:
    """A device of a new account."""
    return paired_device(drafting_gateway.url)


@pytest.fixture(scope="package")
def training_system(run_folder: Path) -> Iterator[TrainingSystem]:
    """All that trainings need, apart from everything else."""
    with running_training_system(run_folder / "training") as system:
        yield system


@pytest.fixture
def learner(training_system: TrainingSystem) -> Device:
    """A device of a new account in the training system."""
    return training_system.new_device()
