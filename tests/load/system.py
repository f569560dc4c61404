"""A whole system for the load: embedded servers, the ML service, a worker of its queue, a gateway."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ml_service import MlServiceProcess
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.servers import own_servers
from tests.fixtures.workers import WorkerProcess

_TOKEN_SECONDS = 0.03
"""The scripted engine is as fast as a small model on a GPU, so that drafts are something that takes time here, too."""


@contextmanager
def running_system(folder: Path, engine: str) -> Iterator[str]:
    """Start everything, and stop it again; the gateway's address."""
    with ExitStack() as stack:
        postgres, valkey = stack.enter_context(own_servers(folder))
        token = ""
        ml_service: ScriptedMlService | MlServiceProcess
        if engine == "scripted":
            ml_service = ScriptedMlService(folder, valkey.url)
        else:
            ml_service = MlServiceProcess(folder, redis_url=valkey.url, adapter_store=str(folder / "adapters"))
            token = ml_service.token
        worker = WorkerProcess(folder, redis_url=valkey.url, ml_service_url=ml_service.url, ml_service_token=token)
        gateway = GatewayProcess(
            folder, database_url=postgres.url, redis_url=valkey.url, ml_service_url=ml_service.url, ml_service_token=token
        )
        for process in (ml_service, worker, gateway):
            stack.callback(process.stop)
            process.start()
        if isinstance(ml_service, ScriptedMlService):
            ml_service.pace(_TOKEN_SECONDS)
        yield gateway.url
