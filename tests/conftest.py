"""What every test may ask for: a real PostgreSQL, a real Valkey, a gateway on a real socket; each started once a run."""

import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from gateway.database import migrate
from ml_service.models.bundled import unpack
from ml_service.models.catalogue import builtin_catalogue, bundled_folder
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ml_service import DATA_DIR, MlServiceProcess
from tests.fixtures.ports import free_port
from tests.fixtures.queue_system import QueueSystem, running_queue_system
from tests.fixtures.redis_client import Redis
from tests.fixtures.running import run
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.servers import Server, running_postgres, running_valkey
from tests.fixtures.training import Trained, trained
from tests.fixtures.waiting import eventually

# What a test finds it finds in every run, and a busy machine is no failure.
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """`make test-gateway` does without the browser, `make test-console` runs what needs one."""
    for item in items:
        if "browser" in item.fixturenames:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and logs of this run's processes."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="session")
def postgres(run_folder: Path) -> Iterator[Server]:
    with running_postgres(run_folder) as server:
        yield server


@pytest.fixture(scope="session")
def database_url(postgres: Server) -> str:
    """A migrated database. Tests share it: each makes accounts of its own, which see nothing of each other."""
    run(migrate(postgres.url))
    return postgres.url


@pytest.fixture(scope="session")
def migrated(postgres: Server) -> str:
    """The name of a migrated database that is only there to be copied, which takes a tenth of what migrating takes."""
    rows(postgres.url, "create database migrated")
    run(migrate(postgres.url.replace("/assistant", "/migrated")))
    return "migrated"


@pytest.fixture(scope="module")
def own_database_url(postgres: Server, migrated: str) -> Iterator[str]:
    """A migrated database that nobody else uses: gateways that share one take each other's orders for the ML service."""
    name = f"own_{uuid4().hex}"
    rows(postgres.url, f"create database {name} template {migrated}")
    url = postgres.url.replace("/assistant", f"/{name}")
    yield url

    def dropped() -> bool:
        try:
            rows(postgres.url, f"drop database {name} (force)")
        except asyncpg.InsufficientPrivilegeError:  # the server itself looks after its tables just now
            return False
        return True

    eventually(dropped)


@pytest.fixture(scope="session")
def valkey(run_folder: Path) -> Iterator[Server]:
    with running_valkey(run_folder) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(valkey: Server) -> str:
    return valkey.url


@pytest.fixture
def redis(redis_url: str) -> Iterator["Redis"]:
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(scope="session")
def gateway(run_folder: Path, database_url: str, redis_url: str) -> Iterator[GatewayProcess]:
    """A gateway without an ML service: nothing listens where it looks for one."""
    process = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=f"http://127.0.0.1:{free_port()}")
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def ml_service(run_folder: Path, redis_url: str) -> Iterator[ScriptedMlService]:
    """The real ML service over an engine that always says the same."""
    service = ScriptedMlService(run_folder, redis_url)
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="session")
def drafting_gateway(run_folder: Path, database_url: str, redis_url: str, ml_service: ScriptedMlService) -> Iterator[GatewayProcess]:
    """A gateway with an ML service."""
    process = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=ml_service.url)
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def queue_system(run_folder: Path) -> Iterator[QueueSystem]:
    """All that queued drafts need, apart from everything else: tests hurt it, and wait until it is whole again."""
    with running_queue_system(run_folder / "queue", worker_jobs="8") as system:
        yield system


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The bundled model's checkpoint; unpacked in the first run on a machine."""
    entry = builtin_catalogue()["smollm2-135m-instruct"]
    return unpack(entry.location, bundled_folder(entry, DATA_DIR))


@pytest.fixture(scope="session")
def adapter_store(run_folder: Path) -> Path:
    """Where this run's adapters are: the data folder is the project's own."""
    return run_folder / "adapters"


@pytest.fixture(scope="session")
def model_service(run_folder: Path, redis_url: str, smollm2: Path, adapter_store: Path) -> Iterator[MlServiceProcess]:
    """The ML service with the real engine and the bundled model, started once a run. Who hurts it waits until it is whole again."""
    process = MlServiceProcess(
        run_folder,
        redis_url=redis_url,
        adapter_store=str(adapter_store),
        max_loaded_adapters="8",
        engine_rebuild_window_seconds="1",  # who kills its engine does not leave it slower for others
    )
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def trained_job(run_folder: Path, smollm2: Path) -> Trained:
    """A job of the real trainer that has ended well, run once a run: its adapter ends every reply in `STYLE`."""
    return trained(run_folder / "trained", smollm2)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Children that Ctrl-C ends, also where the tests run in a shell's background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
