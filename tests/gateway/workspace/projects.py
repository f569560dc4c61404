"""Projects in folders of their own, and what tools need there: without a database, so that thousands of them can be made."""

import asyncio
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gateway.workspace.files.changes import ChangedSince, Plan, Step, undo
from gateway.workspace.files.project import Project
from gateway.workspace.files.tree import Tree
from gateway.workspace.tools import all_tools
from gateway.workspace.tools.base import ToolResult
from gateway.workspace.tools.web import WebPages

Prepared = TypeVar("Prepared")
TOOLS = all_tools(WebPages())


class Context:
    """What tools may use (`ToolContext`): changes are kept in a list."""

    def __init__(self, root: Path, commands: Sequence[str] = ()) -> None:
        self.project = Project(root.resolve())
        self.commands = commands
        self.changes: list[tuple[list[Step], list[bytes]]] = []
        self.files: list[str] = []

    async def change(self, tool: str, prepare: Callable[[Tree, Plan], Prepared]) -> Prepared:
        with Tree(self.project.root) as tree:
            plan = Plan(tree)
            prepared = prepare(tree, plan)
            # What is stored must be enough to undo it.
            steps = msgspec.convert(msgspec.json.decode(msgspec.json.encode(plan.steps)), list[Step])
            self.changes.append((steps, plan.contents))
            plan.make()
        return prepared

    async def add_files(self, paths: Sequence[str]) -> None:
        self.files += paths

    async def remove_files(self, paths: Sequence[str]) -> list[str]:
        removed = [path for path in paths if path in self.files]
        self.files = [path for path in self.files if path not in removed]
        return removed

    def use(self, name: str, **given: Any) -> ToolResult:
        """Call a tool as a model does."""
        tool = TOOLS[name]
        return asyncio.run(tool.run(self, msgspec.convert(given, tool.input_type)))

    def undo(self) -> list[str]:
        """Take the last change back."""
        steps, contents = self.changes[-1]
        with Tree(self.project.root) as tree:
            restored = undo(tree, steps, contents)
        self.changes.pop()
        return restored

    def undo_is_refused(self) -> list[str]:
        """The files that the last change cannot be taken back for."""
        try:
            self.undo()
        except ChangedSince as error:
            return error.paths
        raise AssertionError("it was undone")


def snapshot(root: Path) -> dict[str, tuple[str, int, bytes]]:
    """Everything below a folder: kind, mode, and content or target."""
    found: dict[str, tuple[str, int, bytes]] = {}
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(folder) / name
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                found[str(path.relative_to(root))] = ("link", 0, str(path.readlink()).encode())
            elif stat.S_ISDIR(status.st_mode):
                found[str(path.relative_to(root))] = ("folder", 0, b"")
            else:
                found[str(path.relative_to(root))] = ("file", stat.S_IMODE(status.st_mode), path.read_bytes())
    return found


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
