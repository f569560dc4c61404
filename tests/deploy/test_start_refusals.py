"""`python -m deploy.local` when something is in the way: one line that says what to do, and nothing left running."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from deploy.local.settings import LocalSettings
from deploy.local.stack import exclusive
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import START_SECONDS


def start(data_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.local"],
        env={**os.environ, "DATA_DIR": str(data_dir), "COLUMNS": "300", **environment},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        result = start(tmp_path, GATEWAY_PORT=str(port), ML_SERVICE_PORT=str(free_port()))

    assert result.returncode == 1
    assert result.stdout.strip().splitlines() == [
        f"✗ Port {port} is taken by {_own_name()} (process {os.getpid()}): stop that, or set GATEWAY_PORT to another port"
    ]
    assert result.stderr == ""


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()

    result = start(in_the_way / "data")

    assert result.returncode == 1
    assert "cannot be written" in result.stdout
    assert "set DATA_DIR" in result.stdout
    assert len(result.stdout.strip().splitlines()) == 1


def test_a_second_start_on_the_same_data(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        result = start(tmp_path)

    assert result.returncode == 1
    assert f"It runs already on {tmp_path} (process {os.getpid()})" in result.stdout


def test_a_setting_that_is_no_port(tmp_path: Path) -> None:
    result = start(tmp_path, GATEWAY_PORT="many")

    assert result.returncode == 1
    assert "GATEWAY_PORT cannot be used" in result.stdout


def test_the_documented_ports_are_the_defaults() -> None:
    assert (LocalSettings().gateway_port, LocalSettings().ml_service_port) == (3100, 8100)


def _own_name() -> str:
    return Path(f"/proc/{os.getpid()}/comm").read_text().strip()
