"""What `make` would do, in a folder that has only what its rules look at."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with nothing installed."""
    shutil.copy(PROJECT / "Makefile", tmp_path)
    for file in ("pyproject.toml", "clients/python/pyproject.toml", "deploy/install.sh", "deploy/locks/cpu.txt", "deploy/locks/gpu.txt"):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def installed(project: Path, kind: str) -> None:
    """As `deploy/install.sh` leaves it."""
    (project / ".venv").mkdir()
    (project / ".venv" / ".installed").write_text(f"{kind}\n")


def would_do(project: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("ACCELERATOR", "MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(["make", "-n", *arguments], cwd=project, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_first_run_installs_for_a_processor(project: Path) -> None:
    assert "deploy/install.sh cpu" in would_do(project, "run")


def test_a_run_installs_nothing_anew(project: Path) -> None:
    installed(project, "cpu")

    assert "deploy/install.sh" not in would_do(project, "run")


def test_a_run_on_a_gpu_installs_what_that_needs(project: Path) -> None:
    installed(project, "cpu")

    assert "deploy/install.sh gpu" in would_do(project, "run", "ACCELERATOR=gpu")


def test_what_was_installed_for_a_gpu_stays(project: Path) -> None:
    installed(project, "gpu")

    assert "deploy/install.sh" not in would_do(project, "demo")


def test_a_changed_lock_is_installed_again_for_the_same_kind(project: Path) -> None:
    installed(project, "gpu")
    os.utime(project / ".venv" / ".installed", (0, 0))

    assert "deploy/install.sh gpu" in would_do(project, "run")
