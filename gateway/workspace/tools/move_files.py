from typing import Annotated

from msgspec import Meta

from gateway.workspace.files.changes import Plan
from gateway.workspace.files.tree import Tree
from gateway.workspace.tools.base import MOST_PATHS, ToolContext, ToolInput, ToolResult, inside, plural


class MoveFilesInput(ToolInput, frozen=True, kw_only=True):
    sources: Annotated[list[str], Meta(min_length=1, max_length=MOST_PATHS)]
    destination: str
    overwrite: bool = False
    create_missing_directories: bool = False


class MoveFiles:
    """Moves files and folders into a folder: all of them, or none."""

    name = "move_files"
    description = "Move files or folders into another folder of the project."
    input_type = MoveFilesInput

    async def run(self, context: ToolContext, wanted: MoveFilesInput) -> ToolResult:
        def prepare(_: Tree, plan: Plan) -> None:
            places = [context.project.place(source) for source in wanted.sources]
            if wanted.destination.rstrip("/") in ("", "."):
                targets = [context.project.place(place.name) for place in places]
            else:
                folder = str(context.project.place(wanted.destination))
                targets = [context.project.place(inside(folder, str(place))) for place in places]
            plan.moves(list(zip(places, targets, strict=True)), overwrite=wanted.overwrite, create=wanted.create_missing_directories)

        await context.change(self.name, prepare)
        data = {"filesMoved": wanted.sources, "filesError": [], "destination": wanted.destination}
        return ToolResult(data, f"Moved {plural(len(wanted.sources), 'file')} to {wanted.destination}")
