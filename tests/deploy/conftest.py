"""What the tests of more than one file need."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.local_run import LocalRun, local_run
from tests.fixtures.ml_service import data_folder


@pytest.fixture(scope="package")
def shared_run(run_folder: Path, smollm2: Path) -> Iterator[LocalRun]:
    """One for the tests that leave it as it was, or kill it: the latter comes last."""
    with local_run(data_folder(run_folder / "local"), ENGINE="scripted", REDIS_REWRITE_SECONDS="1") as run:
        yield run
