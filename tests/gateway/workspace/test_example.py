"""The example in docs/ does what it says."""

import subprocess
import sys
from pathlib import Path

from tests.fixtures.scripted_chat import answer, calls
from tests.fixtures.waiting import PATIENCE_SECONDS
from tests.gateway.workspace.conftest import Workspace

EXAMPLE = Path(__file__).parents[3] / "docs" / "workspace_example.py"


def test_the_example_moves_two_files_and_takes_it_back(workspace: Workspace) -> None:
    workspace.chat.turns = [calls(("move_files", {"sources": ["todo.txt", "shopping.txt"], "destination": "lists"})), answer("Both moved.")]

    command = [sys.executable, str(EXAMPLE), workspace.gateway.url, workspace.owner.token, str(workspace.root)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
    steps = [line.split()[0] for line in run.stdout.splitlines()]
    assert steps == ["user", "tool_use", "tool_result", "answer", "moved", "Last", "all"]
