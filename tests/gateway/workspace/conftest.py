from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_chat import ScriptedChat, scripted_chat
from tests.gateway.workspace.projects import write

COMMAND = "python3 -c print(1)"
ENDLESS = "sleep 600"


class Workspace:
    """A conversation of a new account about a project of its own, and the model that answers."""

    def __init__(self, gateway: GatewayProcess, chat: ScriptedChat, root: Path) -> None:
        self.gateway = gateway
        self.chat = chat
        self.root = root
        self.owner: Device = paired_device(gateway.url)
        self.name = uuid4().hex

    def url(self, part: str = "") -> str:
        return f"/api/v1/conversation/{self.name}{part}"

    def ask(self, method: str, part: str = "", **options: Any) -> httpx.Response:
        """A request about the conversation."""
        params = {"startDir": str(self.root), **options.pop("params", {})}
        return self.owner.client.request(method, self.url(part), params=params, **options)

    def say(self, statement: str, *turns: str | int) -> httpx.Response:
        """Say something; the model says these turns."""
        self.chat.turns[:] = turns
        return self.owner.client.post(self.url(), json={"statement": statement, "startDir": str(self.root)})


@pytest.fixture(scope="package")
def chat() -> Iterator[ScriptedChat]:
    with scripted_chat() as chat:
        yield chat


@pytest.fixture(scope="package")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that is open to the workspace assistant."""
    return tmp_path_factory.mktemp("workspaces")


@pytest.fixture(scope="package")
def workspace_gateway(run_folder: Path, database_url: str, redis_url: str, chat: ScriptedChat, roots: Path) -> Iterator[GatewayProcess]:
    process = GatewayProcess(
        run_folder,
        database_url=database_url,
        redis_url=redis_url,
        ml_service_url=chat.url,
        workspace_roots=str(roots),
        workspace_commands=f"{COMMAND},{ENDLESS}",
    )
    process.start()
    yield process
    process.stop()


@pytest.fixture
def workspace(workspace_gateway: GatewayProcess, chat: ScriptedChat, roots: Path) -> Workspace:
    root = roots / uuid4().hex
    write(root, {"a.txt": "one\n", "b.txt": "two\n", "docs/readme.rst": "# Hello\n", ".git/config": "git"})
    chat.turns, chat.requests, chat.held, chat.aborted, chat.title_seconds = [], [], False, 0, 0.0
    chat.finish_reason = "stop"
    return Workspace(workspace_gateway, chat, root)
