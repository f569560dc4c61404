"""What tools may use while they serve one conversation: its project, its files in context, and the book of its changes."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from gateway.database import Database
from gateway.workspace import queries
from gateway.workspace.files.changes import Plan
from gateway.workspace.files.project import Project
from gateway.workspace.files.tree import Tree
from gateway.workspace.tools.base import ToolFailed
from shared.ids import new_id

Prepared = TypeVar("Prepared")


class ConversationContext:
    """Of one conversation (`tools.base.ToolContext`)."""

    def __init__(self, database: Database, account_id: UUID, conversation_id: UUID, project: Project, commands: Sequence[str]) -> None:
        self._database = database
        self._account_id = account_id
        self._conversation_id = conversation_id
        self.project = project
        self.commands = commands

    async def change(self, tool: str, prepare: Callable[[Tree, Plan], Prepared]) -> Prepared:
        with await asyncio.to_thread(Tree, self.project.root) as tree:
            plan = Plan(tree)
            prepared = await asyncio.to_thread(prepare, tree, plan)
            # From here on it is made to the end, whoever leaves: half a change would be nobody's.
            making = asyncio.create_task(self._make(tool, plan))
            try:
                await asyncio.shield(making)
            except asyncio.CancelledError:
                await asyncio.wait([making])
                raise
        return prepared

    async def _make(self, tool: str, plan: Plan) -> None:
        async with self._database.connection() as db:
            await queries.add_change(
                db, self._account_id, self._conversation_id, new_id(), tool, str(self.project.root), plan.steps, plan.contents
            )
        try:
            await asyncio.to_thread(plan.make)
        except OSError as error:
            raise ToolFailed("the files could not all be changed; undo takes back what was done") from error

    async def add_files(self, paths: Sequence[str]) -> None:
        async with self._database.connection() as db:
            await queries.add_files(db, self._account_id, self._conversation_id, paths)

    async def remove_files(self, paths: Sequence[str]) -> list[str]:
        async with self._database.connection() as db:
            return await queries.remove_files(db, self._account_id, self._conversation_id, paths)
