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


@pytest.mark.parametrize(("machine", "hashes", "refused"), [("aarch64", 1, True), ("aarch64", 2, False), ("x86_64", 1, False)])
def test_an_installation_without_the_wheel_for_its_processor_says_so_first(project: Path, machine: str, hashes: int, refused: bool) -> None:
    shutil.copy(PROJECT / "deploy/install.sh", project / "deploy")
    lines = [f"    --hash=sha256:{number}" for number in range(hashes)]
    (project / "deploy/locks/cpu.txt").write_text(" \\\n".join(["torch==2.13.0+cpu", *lines]) + "\n    # via us\n")
    programs = project / "programs"
    programs.mkdir()
    for name, does in {"uname": f"echo {machine}", "python3": "exit 1"}.items():  # without Python it goes no further
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)

    result = subprocess.run(
        ["bash", "deploy/install.sh", "cpu"],
        cwd=project,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert ("On ARM" in result.stderr) == refused
