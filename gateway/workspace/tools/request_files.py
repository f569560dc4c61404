import asyncio
import stat
from typing import Annotated

from msgspec import Meta

from gateway.workspace.files.project import PathRefused
from gateway.workspace.files.tree import Tree
from gateway.workspace.tools.base import MOST_PATHS, ToolContext, ToolFailed, ToolInput, ToolResult, plural


class RequestFilesInput(ToolInput, frozen=True, kw_only=True):
    file_names: Annotated[list[str], Meta(min_length=1, max_length=MOST_PATHS)]


class RequestFiles:
    """Brings files into the context: the model reads their content as it is at each turn."""

    name = "request_files"
    description = "Read files of the project: their current content is shown to you from the next turn on."
    input_type = RequestFilesInput

    async def run(self, context: ToolContext, wanted: RequestFilesInput) -> ToolResult:
        def look() -> tuple[list[str], list[dict[str, str]]]:
            found: list[str] = []
            missing: list[dict[str, str]] = []
            with Tree(context.project.root) as tree:
                for name in wanted.file_names:
                    try:
                        place = context.project.place(name)
                        status = tree.status(place)
                    except (PathRefused, OSError) as error:
                        missing.append({"fileName": name, "error": str(error) if isinstance(error, PathRefused) else "it cannot be read"})
                        continue
                    if status is None or not stat.S_ISREG(status.st_mode):
                        missing.append({"fileName": name, "error": "there is no such file"})
                    else:
                        found.append(str(place))
            return found, missing

        found, missing = await asyncio.to_thread(look)
        if not found:
            raise ToolFailed("; ".join(f"{each['fileName']}: {each['error']}" for each in missing))
        await context.add_files(found)
        return ToolResult({"filesAdded": found, "filesError": missing}, f"Reads {plural(len(found), 'file')}")
