from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_ml_service import ScriptedMlService


@pytest.fixture(scope="package")
def narrow_gateway(run_folder: Path, database_url: str, redis_url: str, ml_service: ScriptedMlService) -> Iterator[GatewayProcess]:
    """A gateway that gives each account and each address little."""
    process = GatewayProcess(
        run_folder,
        database_url=database_url,
        redis_url=redis_url,
        ml_service_url=ml_service.url,
        max_drafts_per_account="2",
        max_queued_drafts_per_account="2",
        max_devices_per_account="3",
        max_event_streams_per_account="2",
        max_contact_handles_per_account="6",
        max_adapters_per_account="2",
        max_stored_mib_per_account="1",
        max_training_seconds_a_day_per_account="3600",
        max_connections="8",
    )
    process.start()
    yield process
    process.stop()


@pytest.fixture
def owner(narrow_gateway: GatewayProcess) -> Device:
    """A device of a new account."""
    return paired_device(narrow_gateway.url)
