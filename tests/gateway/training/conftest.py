from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.training_system import TrainingSystem, running_training_system


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
