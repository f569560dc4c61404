"""A conversation over its WebSocket."""

import json
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_chat import ScriptedChat, answer, calls
from tests.fixtures.waiting import PATIENCE_SECONDS, WITHIN_A_SECOND, eventually
from tests.gateway.workspace.conftest import ENDLESS, Workspace
from tests.gateway.workspace.projects import snapshot


def opened(workspace: Workspace, gateway: GatewayProcess | None = None) -> ClientConnection:
    url = (gateway or workspace.gateway).url.replace("http", "ws", 1)
    headers = {"Authorization": f"Bearer {workspace.owner.token}"}
    return connect(f"{url}/api/v1/ws/conversation/{workspace.name}", additional_headers=headers, close_timeout=1)


def send(socket: ClientConnection, task: str, **more: Any) -> None:
    socket.send(json.dumps({"task": task, **more}))


def converse(socket: ClientConnection, workspace: Workspace, statement: str, **more: Any) -> None:
    send(socket, "converse", statement=statement, startDir=str(workspace.root), **more)


def until(socket: ClientConnection, *kinds: str) -> list[dict[str, Any]]:
    """What comes, up to the first of these types."""
    messages: list[dict[str, Any]] = []
    while not messages or messages[-1].get("type") not in kinds:
        messages.append(json.loads(socket.recv(timeout=PATIENCE_SECONDS)))
    return messages


ENDS = ("conversationAnswer", "conversationError", "conversationCancelled")


def test_a_conversation_in_the_originals_order(workspace: Workspace) -> None:
    workspace.chat.turns = [
        calls(("move_files", {"sources": ["a.txt"], "destination": "docs"}), thinking="First move"),
        answer("Moved", "Done"),
    ]
    with opened(workspace) as socket:
        send(socket, "greeting", startDir=str(workspace.root))
        (ready,) = until(socket, "conversationReady")
        assert ready["data"]["conversationId"] == workspace.name
        assert ready["data"]["conversationHistory"] == []

        converse(socket, workspace, "Move a.txt to docs")
        messages = until(socket, *ENDS)

    kinds = [(each["type"], each["data"].get("logEntry", {}).get("entryType")) for each in messages]
    assert kinds == [
        ("conversationReady", None),
        ("conversationContinue", "user"),
        ("conversationContinue", "assistant"),
        ("conversationContinue", "tool_use"),
        ("conversationContinue", "tool_result"),
        ("conversationAnswer", "answer"),
    ]
    use, result, last = (each["data"] for each in messages[3:])
    assert (use["logEntry"]["toolName"], use["logEntry"]["content"]["destination"]) == ("move_files", "docs")
    assert set(result["logEntry"]["content"]) == {"toolResult", "bbaiResponse"}
    assert (last["answer"], last["response"], last["assistantThinking"]) == ("Moved", "Moved", "Done")
    assert last["conversationStats"] == {"statementCount": 1, "statementTurnCount": 2, "conversationTurnCount": 2}
    assert last["tokenUsageConversation"]["totalTokensTotal"] == 220


def test_a_statement_is_told_at_once(workspace: Workspace) -> None:
    """Also before the model has ended a turn, on a socket on which nothing ran: by itself it looks for news every five seconds."""
    workspace.chat.turns = [calls(("move_files", {"sources": ["a.txt"], "destination": "docs"}))]
    workspace.chat.held = True
    with opened(workspace) as socket:
        send(socket, "greeting", startDir=str(workspace.root))
        until(socket, "conversationReady")
        time.sleep(0.5)
        converse(socket, workspace, "Tell me")
        until(socket, "conversationReady")
        begin = time.monotonic()
        until(socket, "conversationContinue")
        waited = time.monotonic() - begin
        workspace.chat.held = False
        until(socket, *ENDS)
    assert waited < 4


def test_an_answer_grows_for_who_asks_for_that(workspace: Workspace) -> None:
    workspace.chat.turns = [answer("A long answer that comes piece by piece, word by word.")]
    workspace.chat.held = True
    with opened(workspace) as socket:
        converse(socket, workspace, "Tell me", stream=True)
        pieces = ""
        while "word by word." not in pieces:
            message = json.loads(socket.recv(timeout=PATIENCE_SECONDS))
            if message["data"].get("logEntry", {}).get("partial"):
                pieces += message["data"]["logEntry"]["content"]
        workspace.chat.held = False
        assert until(socket, *ENDS)[-1]["data"]["answer"] == pieces


def test_what_is_no_message_leaves_the_socket_open(workspace: Workspace) -> None:
    with opened(workspace) as socket:
        for bad in ["{", "[]", '{"task": "dance"}', '{"task": 1}']:
            socket.send(bad)
            assert json.loads(socket.recv(timeout=PATIENCE_SECONDS)) == {"error": "Invalid message format"}
        send(socket, "greeting", startDir=str(workspace.root))
        assert until(socket, "conversationReady")


@pytest.mark.parametrize(
    ("task", "more", "code"),
    [
        ("converse", {"statement": "  ", "startDir": "x"}, "EMPTY_PROMPT"),
        ("converse", {"statement": "x"}, "START_DIR_REQUIRED"),
        ("greeting", {}, "START_DIR_REQUIRED"),
        ("greeting", {"startDir": "/etc"}, "INVALID_START_DIR"),
        ("greeting", {"startDir": "relative"}, "INVALID_START_DIR"),
        ("cancel", {}, "NO_ACTIVE_CONVERSATION"),
    ],
)
def test_errors_have_codes(workspace: Workspace, task: str, more: dict[str, str], code: str) -> None:
    with opened(workspace) as socket:
        send(socket, task, **more)
        (error,) = until(socket, "conversationError")
    assert error["data"]["code"] == code
    assert error["data"]["conversationId"] == workspace.name


def test_a_second_statement_is_refused_while_one_runs(workspace: Workspace) -> None:
    workspace.chat.held = True
    with opened(workspace) as socket:
        converse(socket, workspace, "First")
        eventually(lambda: len(workspace.chat.asked) == 1)
        converse(socket, workspace, "Second")
        assert until(socket, "conversationError")[-1]["data"]["code"] == "CONVERSATION_IN_USE"
        workspace.chat.held = False
        assert until(socket, *ENDS)[-1]["type"] == "conversationAnswer"


def test_cancel_aborts_the_models_generation(workspace: Workspace) -> None:
    workspace.chat.held = True
    with opened(workspace) as socket:
        converse(socket, workspace, "Think")
        eventually(lambda: len(workspace.chat.asked) == 1)
        send(socket, "cancel")
        assert until(socket, *ENDS)[-1]["data"] == {"conversationId": workspace.name, "message": "Operation cancelled"}
        eventually(lambda: workspace.chat.aborted == 1, WITHIN_A_SECOND)
        workspace.chat.held = False
        send(socket, "cancel")
        assert until(socket, "conversationError")[-1]["data"]["code"] == "NO_ACTIVE_CONVERSATION"
        converse(socket, workspace, "Again")
        assert until(socket, *ENDS)[-1]["type"] == "conversationAnswer"


def test_cancel_ends_the_command_that_runs(workspace: Workspace) -> None:
    def commands() -> list[int]:
        return [each.pid for each in psutil.process_iter(["cmdline", "cwd"]) if each.info["cwd"] == str(workspace.root)]

    workspace.chat.turns = [calls(("run_command", {"command": ENDLESS}))]
    with opened(workspace) as socket:
        converse(socket, workspace, "Wait")
        eventually(lambda: len(commands()) == 1)
        send(socket, "cancel")
        assert until(socket, *ENDS)[-1]["type"] == "conversationCancelled"
        eventually(lambda: commands() == [], WITHIN_A_SECOND)
    assert len(workspace.chat.asked) == 1


def test_a_newer_socket_takes_the_olders_place(workspace: Workspace) -> None:
    with opened(workspace) as older:
        send(older, "greeting", startDir=str(workspace.root))
        until(older, "conversationReady")
        with opened(workspace) as newer:
            send(newer, "greeting", startDir=str(workspace.root))
            until(newer, "conversationReady")
            with pytest.raises(ConnectionClosed) as closed:
                older.recv(timeout=PATIENCE_SECONDS)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "New connection established")
            converse(newer, workspace, "Hello")
            assert until(newer, *ENDS)[-1]["type"] == "conversationAnswer"


def test_a_browser_sends_its_token_as_a_subprotocol(workspace: Workspace) -> None:
    url = workspace.gateway.url.replace("http", "ws", 1)
    with connect(f"{url}/api/v1/ws/conversation/{workspace.name}", subprotocols=["bearer", workspace.owner.token]) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "bearer"
        send(socket, "greeting", startDir=str(workspace.root))
        until(socket, "conversationReady")


def test_a_device_that_is_deactivated_is_out_at_once(workspace: Workspace) -> None:
    with opened(workspace) as socket:
        send(socket, "greeting", startDir=str(workspace.root))
        until(socket, "conversationReady")
        workspace.owner.client.post(f"/api/devices/{workspace.owner.device_id}/deactivate").raise_for_status()
        converse(socket, workspace, "Delete everything")
        with pytest.raises(ConnectionClosed) as closed:
            until(socket, *ENDS)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403
    assert workspace.chat.asked == []


def test_a_silent_socket_of_a_deactivated_device_is_closed_too(workspace: Workspace) -> None:
    with opened(workspace) as socket:
        workspace.owner.client.post(f"/api/devices/{workspace.owner.device_id}/deactivate").raise_for_status()
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=PATIENCE_SECONDS)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403


def test_a_dropped_socket_does_not_end_the_statement(workspace: Workspace) -> None:
    workspace.chat.held = True
    workspace.chat.turns = [answer("Finished alone")]
    with opened(workspace) as socket:
        converse(socket, workspace, "Work")
        eventually(lambda: len(workspace.chat.asked) == 1)
    with opened(workspace) as socket:
        send(socket, "greeting", startDir=str(workspace.root))
        (ready,) = until(socket, "conversationReady")
        assert [each["logEntry"]["entryType"] for each in ready["data"]["conversationHistory"]] == ["user"]
        workspace.chat.held = False
        assert until(socket, *ENDS)[-1]["data"]["answer"] == "Finished alone"


def test_a_statement_is_followed_and_cancelled_through_another_gateway(
    workspace: Workspace, run_folder: Path, database_url: str, redis_url: str, chat: ScriptedChat, roots: Path
) -> None:
    other = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=chat.url, workspace_roots=str(roots))
    other.start()
    try:
        workspace.chat.held = True
        with opened(workspace) as socket:
            converse(socket, workspace, "Work")
            eventually(lambda: len(workspace.chat.asked) == 1)
        with opened(workspace, other) as socket:
            send(socket, "greeting", startDir=str(workspace.root))
            until(socket, "conversationReady")
            send(socket, "cancel")
            assert until(socket, *ENDS)[-1]["type"] == "conversationCancelled"
        eventually(lambda: workspace.chat.aborted == 1)
        workspace.chat.held = False
    finally:
        other.stop()


@pytest.mark.parametrize("killed", [False, True])
def test_a_gateway_that_stops_says_so_in_the_log(
    workspace: Workspace, run_folder: Path, database_url: str, redis_url: str, chat: ScriptedChat, roots: Path, killed: bool
) -> None:
    other = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=chat.url, workspace_roots=str(roots))
    other.start()
    workspace.chat.held = True
    with opened(workspace, other) as socket:
        converse(socket, workspace, "Work")
        eventually(lambda: len(workspace.chat.asked) == 1)
        if killed:
            other.kill()
        else:
            other.stop()

    def last() -> dict[str, Any]:
        return dict(workspace.ask("GET").json()["logEntries"][-1]["logEntry"])

    if killed:
        _not_heard_of(workspace, database_url)
    began = time.monotonic()
    eventually(lambda: last()["entryType"] == "error")
    assert "was stopped" in last()["content"]
    assert killed or time.monotonic() - began < WITHIN_A_SECOND
    workspace.chat.held = False
    assert workspace.say("Again", answer("Yes")).json()["response"] == "Yes"


def test_a_gateway_that_is_killed_while_files_change_leaves_changes_that_can_be_undone(
    workspace: Workspace, run_folder: Path, database_url: str, redis_url: str, chat: ScriptedChat, roots: Path
) -> None:
    before = snapshot(workspace.root)
    other = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=chat.url, workspace_roots=str(roots))
    other.start()
    workspace.chat.turns = [
        calls(
            ("rewrite_file", {"filePath": "a.txt", "content": f"{number}"}),
            ("rename_files", {"operations": [{"source": "b.txt", "destination": f"b{number}.txt"}]} if number == 0 else _renamed(number)),
        )
        for number in range(24)
    ]
    with opened(workspace, other) as socket:
        converse(socket, workspace, "Change everything")
        eventually(lambda: len(workspace.chat.asked) >= 5)
        other.kill()

    _not_heard_of(workspace, database_url)
    eventually(lambda: workspace.ask("GET").json()["logEntries"][-1]["logEntry"]["entryType"] == "error")
    while (undone := workspace.ask("POST", "/undo")).status_code == 200:
        pass
    assert undone.status_code == 404, undone.text
    assert snapshot(workspace.root) == before


def _renamed(number: int) -> dict[str, Any]:
    return {"operations": [{"source": f"b{number - 1}.txt", "destination": f"b{number}.txt"}]}


def _not_heard_of(workspace: Workspace, database_url: str) -> None:
    """As if fifteen seconds had passed since the gateway died that ran this account's statement."""
    late = "update workspace_conversation set alive_at = alive_at - interval '15 seconds' where account_id = $1"
    rows(database_url, late, workspace.owner.account_id)
