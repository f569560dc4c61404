from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port


@pytest.fixture(scope="package")
def replica(run_folder: Path, database_url: str, redis_url: str) -> Iterator[GatewayProcess]:
    """A second gateway, set up as the first."""
    process = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=f"http://127.0.0.1:{free_port()}")
    process.start()
    yield process
    process.stop()


@pytest.fixture
def owner(gateway: GatewayProcess) -> Device:
    """A device of a new account."""
    return paired_device(gateway.url)
