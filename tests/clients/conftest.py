"""The client library against real gateways."""

from collections.abc import Iterator

import pytest
from assistant_client import Client, MemoryStore

from tests.fixtures.gateway import GatewayProcess


@pytest.fixture
def client(drafting_gateway: GatewayProcess) -> Iterator[Client]:
    """A client of a new account, at a gateway that can draft."""
    with Client(drafting_gateway.url, MemoryStore()) as client:
        client.pair("Test")
        yield client
