"""A gateway between the signal that stops it and its end."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import eventually


@pytest.fixture
def leaving(run_folder: Path, database_url: str, redis_url: str) -> Iterator[GatewayProcess]:
    """One that was told to stop a moment ago, and serves on for a few seconds."""
    process = GatewayProcess(
        run_folder,
        database_url=database_url,
        redis_url=redis_url,
        ml_service_url=f"http://127.0.0.1:{free_port()}",
        shutdown_delay_seconds="8",
    )
    process.start()
    os.kill(process.process.pid or 0, signal.SIGTERM)
    eventually(lambda: httpx.get(f"{process.url}/health/ready").status_code == 503)
    yield process
    process.kill()


def test_it_says_so_and_serves_on_and_ends(leaving: GatewayProcess) -> None:
    ready = httpx.get(f"{leaving.url}/health/ready")
    alive = httpx.get(f"{leaving.url}/health/live")

    assert (ready.status_code, ready.json()["status"]) == (503, "stopping")
    assert alive.status_code == 200
    assert alive.headers["Connection"] == "close"
    eventually(lambda: leaving.process.exit_code is not None)
    assert leaving.process.exit_code != -signal.SIGKILL


def test_a_connection_is_kept_until_then(gateway: GatewayProcess) -> None:
    assert "Connection" not in httpx.get(f"{gateway.url}/health/live").headers
