"""What the tests of more than one slice need."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.gateway import JWT_KEYS, GatewayProcess
from tests.fixtures.ports import free_port

METRICS_TOKEN = "read-the-metrics"
NEWER_KEY = "newer:" + "n" * 32


@pytest.fixture(scope="session")
def second_gateway(run_folder: Path, database_url: str, redis_url: str) -> Iterator[GatewayProcess]:
    """A replica on the same data, set up otherwise: a newer signing key, closed registration, behind a proxy, with metrics."""
    process = GatewayProcess(
        run_folder,
        database_url=database_url,
        redis_url=redis_url,
        ml_service_url=f"http://127.0.0.1:{free_port()}",
        jwt_keys=f"{NEWER_KEY},{JWT_KEYS}",
        registration="closed",
        trusted_proxies="127.0.0.1",
        metrics_token=METRICS_TOKEN,
    )
    process.start()
    yield process
    process.stop()
