from typing import Annotated

from msgspec import Meta

from gateway.workspace.files.changes import Plan
from gateway.workspace.files.tree import Tree
from gateway.workspace.tools.base import ToolContext, ToolFailed, ToolInput, ToolResult, plural
from gateway.workspace.tools.patterns import compiled
from gateway.workspace.tools.text_files import read_text


class Replacement(ToolInput, frozen=True, kw_only=True):
    search: Annotated[str, Meta(min_length=1)]
    replace: str
    regex_pattern: bool = False
    replace_all: bool = False
    case_sensitive: bool = True


class SearchAndReplaceInput(ToolInput, frozen=True, kw_only=True):
    file_path: str
    operations: Annotated[list[Replacement], Meta(min_length=1, max_length=100)]
    create_if_missing: bool = False


class SearchAndReplace:
    """Replaces text in a file; every operation must find something, or nothing is changed."""

    name = "search_and_replace"
    description = "Replace text in a file of the project: the first place where `search` stands, or all of them."
    input_type = SearchAndReplaceInput

    async def run(self, context: ToolContext, wanted: SearchAndReplaceInput) -> ToolResult:
        def prepare(tree: Tree, plan: Plan) -> int:
            place = context.project.place(wanted.file_path)
            missing = tree.status(place) is None
            if missing and not wanted.create_if_missing:
                raise ToolFailed(f"{wanted.file_path} is not there")
            if missing:
                plan.folder_of(place, create=True)
            text = "" if missing else read_text(tree, place)
            count = 0
            for operation in wanted.operations:
                text, times = _replaced(text, operation) if text else (operation.replace, 1)
                if not times:
                    raise ToolFailed(f"{wanted.file_path}: {operation.search!r} is not in it; nothing was changed")
                count += times
            plan.write(place, text.encode())
            return count

        count = await context.change(self.name, prepare)
        return ToolResult({"filePath": wanted.file_path, "replacements": count}, f"{plural(count, 'replacement')} in {wanted.file_path}")


def _replaced(text: str, operation: Replacement) -> tuple[str, int]:
    """The text with one place replaced, or all, and how many those were."""
    if not operation.regex_pattern and operation.case_sensitive:
        count = text.count(operation.search) if operation.replace_all else int(operation.search in text)
        return text.replace(operation.search, operation.replace, -1 if operation.replace_all else 1), count
    pattern = compiled(operation.search, literal=not operation.regex_pattern, case_sensitive=operation.case_sensitive)
    replacement = operation.replace if operation.regex_pattern else operation.replace.replace("\\", "\\\\")
    try:
        changed, count = pattern.subn(replacement, text, 0 if operation.replace_all else 1)
    except Exception as error:  # the library's own, for a group that the pattern does not have
        raise ToolFailed(f"{operation.replace!r} names a group that the pattern does not have") from error
    return str(changed), int(count)
