from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.importers.gateway_destination import GatewayDestination
from tests.clients.importers.made_chat_db import MadeChatDb
from tests.factories import paired_device
from tests.fixtures.gateway import GatewayProcess


@pytest.fixture
def destination(gateway: GatewayProcess) -> Iterator[GatewayDestination]:
    """A real gateway, as a new account."""
    with GatewayDestination(paired_device(gateway.url)) as destination:
        yield destination


@pytest.fixture
def made(tmp_path: Path) -> Iterator[MadeChatDb]:
    """An empty `chat.db`, open as Messages has it."""
    made = MadeChatDb(tmp_path / "chat.db")
    yield made
    made.close()
