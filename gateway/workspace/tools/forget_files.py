from typing import Annotated

from msgspec import Meta

from gateway.workspace.tools.base import MOST_PATHS, ToolContext, ToolInput, ToolResult, plural


class ForgetFilesInput(ToolInput, frozen=True, kw_only=True):
    file_names: Annotated[list[str], Meta(min_length=1, max_length=MOST_PATHS)]


class ForgetFiles:
    """Takes files out of the context."""

    name = "forget_files"
    description = "Stop reading files that you asked for before and need no more."
    input_type = ForgetFilesInput

    async def run(self, context: ToolContext, wanted: ForgetFilesInput) -> ToolResult:
        removed = await context.remove_files(wanted.file_names)
        return ToolResult({"filesRemoved": removed}, f"Reads {plural(len(removed), 'file')} no more")
