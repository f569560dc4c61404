"""The whole system on real parts: PostgreSQL, Valkey, vLLM with the bundled model, both services on real sockets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ml_service import MlServiceProcess, data_folder
from tests.fixtures.workers import WorkerProcess


@pytest.fixture(scope="package")
def worker(run_folder: Path, redis_url: str, model_service: MlServiceProcess) -> Iterator[WorkerProcess]:
    process = WorkerProcess(run_folder, redis_url=redis_url, ml_service_url=model_service.url, ml_service_token=model_service.token)
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="package")
def training_worker(run_folder: Path, redis_url: str, model_service: MlServiceProcess, adapter_store: Path) -> Iterator[WorkerProcess]:
    process = WorkerProcess(
        run_folder,
        queue="training",
        redis_url=redis_url,
        ml_service_url=model_service.url,
        ml_service_token=model_service.token,
        data_dir=str(data_folder(run_folder / "training-worker")),
        adapter_store=str(adapter_store),
        training_priority="normal",  # other tests may run beside
    )
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="package")
def whole_system(
    run_folder: Path, database_url: str, redis_url: str, model_service: MlServiceProcess, worker: WorkerProcess
) -> Iterator[GatewayProcess]:
    """A gateway before the real model, and a worker of its queue."""
    process = GatewayProcess(
        run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=model_service.url, ml_service_token=model_service.token
    )
    process.start()
    yield process
    process.stop()


@pytest.fixture
def device(whole_system: GatewayProcess) -> Device:
    return paired_device(whole_system.url)
