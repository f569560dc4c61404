"""The OpenAPI description against a running service: what Schemathesis makes up from it is answered as it says."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fixtures.ml_service import TOKEN, MlServiceProcess
from tests.fixtures.waiting import ENGINE_SECONDS, PATIENCE_SECONDS

CONFIG = """
# Which base models and adapters there are, and that enough samples count, no schema can say.
[[operations]]
include-name = "POST /training/start"
[operations.checks]
positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "409", "5xx"]
"""
AUTHORIZATION = f"Authorization: Bearer {TOKEN}"


@pytest.fixture(scope="module")
def scripted_service(run_folder: Path, redis_url: str) -> Iterator[MlServiceProcess]:
    process = MlServiceProcess(run_folder, redis_url=redis_url, engine="scripted", model_id="smollm2-135m-instruct")
    process.start()
    yield process
    process.stop()


def test_every_answer_is_as_described(scripted_service: MlServiceProcess, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run"]
    options = [
        f"{scripted_service.url}/openapi.json",
        "--header",
        AUTHORIZATION,
        "--checks",
        "all",
        "--max-examples",
        "20",
        "--generation-deterministic",
        "--request-timeout",
        str(PATIENCE_SECONDS),
    ]
    run = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=ENGINE_SECONDS, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_endpoint_but_health_asks_for_the_token(scripted_service: MlServiceProcess) -> None:
    document = httpx.get(
        f"{scripted_service.url}/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE_SECONDS
    ).json()
    open_paths = {
        path for path, operations in document["paths"].items() for operation in operations.values() if "security" not in operation
    }
    assert open_paths == {"/health", "/health/live"}
    assert "422" not in str(document["paths"])


def test_the_log_of_all_that_names_no_failure_of_the_inside(scripted_service: MlServiceProcess) -> None:
    assert "Traceback" not in scripted_service.log()
