from gateway.workspace.files.changes import Plan
from gateway.workspace.files.tree import Tree
from gateway.workspace.tools.base import ToolContext, ToolFailed, ToolInput, ToolResult


class RewriteFileInput(ToolInput, frozen=True, kw_only=True):
    file_path: str
    content: str
    create_if_missing: bool = True


class RewriteFile:
    """Writes a file whole."""

    name = "rewrite_file"
    description = "Write a whole file of the project: give its complete new content."
    input_type = RewriteFileInput

    async def run(self, context: ToolContext, wanted: RewriteFileInput) -> ToolResult:
        content = wanted.content.encode("utf-8", "replace")

        def prepare(tree: Tree, plan: Plan) -> bool:
            place = context.project.place(wanted.file_path)
            created = tree.status(place) is None
            if created and not wanted.create_if_missing:
                raise ToolFailed(f"{wanted.file_path} is not there")
            plan.folder_of(place, create=True)
            plan.write(place, content)
            return created

        created = await context.change(self.name, prepare)
        data = {"filePath": wanted.file_path, "bytes": len(content), "created": created}
        return ToolResult(data, f"{'Created' if created else 'Rewrote'} {wanted.file_path}")
