from typing import Annotated

from msgspec import Meta

from gateway.workspace.files.changes import Plan
from gateway.workspace.files.tree import Tree
from gateway.workspace.tools.base import MOST_PATHS, ToolContext, ToolInput, ToolResult, plural


class Renaming(ToolInput, frozen=True, kw_only=True):
    source: str
    destination: str


class RenameFilesInput(ToolInput, frozen=True, kw_only=True):
    operations: Annotated[list[Renaming], Meta(min_length=1, max_length=MOST_PATHS)]
    overwrite: bool = False
    create_missing_directories: bool = False


class RenameFiles:
    """Gives files and folders other names or places: all of them, or none."""

    name = "rename_files"
    description = "Rename files or folders of the project, or move each to a path of its own."
    input_type = RenameFilesInput

    async def run(self, context: ToolContext, wanted: RenameFilesInput) -> ToolResult:
        def prepare(_: Tree, plan: Plan) -> None:
            place = context.project.place
            plan.moves(
                [(place(each.source), place(each.destination)) for each in wanted.operations],
                overwrite=wanted.overwrite,
                create=wanted.create_missing_directories,
            )

        await context.change(self.name, prepare)
        renamed = [{"source": each.source, "destination": each.destination} for each in wanted.operations]
        return ToolResult({"filesRenamed": renamed, "filesError": []}, f"Renamed {plural(len(renamed), 'file')}")
