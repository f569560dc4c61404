"""The client library against real gateways."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from assistant_client import Client, MemoryStore
from assistant_client.models import Message
from assistant_client.storage import Credentials

from tests.clients.threads import thread
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.unreliable_line import UnreliableLine, unreliable_line


@pytest.fixture
def client(drafting_gateway: GatewayProcess) -> Iterator[Client]:
    """A client of a new account, at a gateway that can draft."""
    with Client(drafting_gateway.url, MemoryStore()) as client:
        client.pair("Test")
        yield client


@pytest.fixture
def asked(client: Client) -> Message:
    """A message of the account that waits for a reply."""
    synced = client.sync_messages(thread("What time?"))
    return next(client.all_messages(synced.conversation_id))


@pytest.fixture(scope="package")
def frail_gateway(run_folder: Path, database_url: str, redis_url: str, ml_service: ScriptedMlService) -> Iterator[GatewayProcess]:
    """A replica that tests kill. They start it again."""
    process = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=ml_service.url)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def at_frail_gateway(frail_gateway: GatewayProcess, client: Client) -> Iterator[Client]:
    """The same device, at the gateway that will be killed."""
    store = MemoryStore(elsewhere(client, frail_gateway.url))
    with Client(frail_gateway.url, store) as other:
        yield other


@pytest.fixture
def line(drafting_gateway: GatewayProcess) -> Iterator[UnreliableLine]:
    """A line to the gateway that loses answers."""
    with unreliable_line(drafting_gateway.port) as line:
        yield line


def elsewhere(client: Client, url: str) -> Credentials:
    """The client's credentials, for another address of the same system."""
    return msgspec.structs.replace(client.credentials, url=url)
