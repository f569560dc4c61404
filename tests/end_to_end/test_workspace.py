"""The workspace assistant with the real engine: the bundled model's turns are well-formed, whatever they say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.factories import paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ml_service import MlServiceProcess
from tests.fixtures.waiting import ENGINE_SECONDS
from tests.gateway.workspace.projects import write

ENDS = ("conversationAnswer", "conversationError", "conversationCancelled")
ENOUGH = 3
"""Steps after which the statement is cancelled: a small model may go on for long."""


@pytest.fixture
def gateway_with_model(
    run_folder: Path, database_url: str, redis_url: str, model_service: MlServiceProcess, tmp_path: Path
) -> Iterator[GatewayProcess]:
    process = GatewayProcess(
        run_folder,
        database_url=database_url,
        redis_url=redis_url,
        ml_service_url=model_service.url,
        ml_service_token=model_service.token,
        workspace_roots=str(tmp_path),
    )
    process.start()
    yield process
    process.stop()


def test_every_turn_of_the_bundled_model_is_a_call_or_an_answer(gateway_with_model: GatewayProcess, tmp_path: Path) -> None:
    write(tmp_path, {"notes/a.txt": "milk", "notes/b.txt": "bread", "lists/.keep": ""})
    owner = paired_device(gateway_with_model.url)
    address = f"{gateway_with_model.url.replace('http', 'ws', 1)}/api/v1/ws/conversation/real"
    statement = "What can you do? Answer in one sentence."  # of files it thinks for ten times as long

    messages: list[dict[str, Any]] = []
    with connect(address, additional_headers={"Authorization": f"Bearer {owner.token}"}) as socket:
        socket.send(json.dumps({"task": "converse", "statement": statement, "startDir": str(tmp_path)}))
        while not messages or messages[-1]["type"] not in ENDS:
            messages.append(json.loads(socket.recv(timeout=ENGINE_SECONDS)))
            if sum(each["type"] == "conversationContinue" for each in messages) == ENOUGH:
                socket.send(json.dumps({"task": "cancel"}))

    entries = [each["data"]["logEntry"] for each in messages if "logEntry" in each["data"]]
    assert len(entries) > 1
    # The schema makes every turn a call of a tool that there is, with an input of its form.
    for entry in entries:
        if entry["entryType"] == "tool_result":
            assert "the input is not as it must be" not in str(entry["content"])
            assert "there is no tool" not in str(entry["content"])
    assert not any("cannot be used, because it is not JSON" in str(entry["content"]) for entry in entries)
