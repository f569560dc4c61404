"""What the tests of more than one file need."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.kubernetes import FOLDER, dictionary
from tests.fixtures.local_run import LocalRun, local_run
from tests.fixtures.ml_service import data_folder


@pytest.fixture(scope="package")
def shared_run(run_folder: Path, smollm2: Path) -> Iterator[LocalRun]:
    """One for the tests that leave it as it was, or kill it: the latter comes last."""
    with local_run(data_folder(run_folder / "local"), ENGINE="scripted", REDIS_REWRITE_SECONDS="1") as run:
        yield run


@pytest.fixture(scope="session")
def kubectl() -> str:
    found = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        pytest.skip("kubectl is not installed")
    return found


@pytest.fixture(scope="session")
def secrets() -> dict[str, str]:
    """What make-secrets.sh of deploy/kubernetes prints."""
    return dictionary(subprocess.run([FOLDER / "make-secrets.sh"], capture_output=True, text=True, check=True).stdout)
