from collections.abc import Sequence
from io import StringIO

from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk, PatchedFile, PatchSet

from gateway.workspace.files.changes import Plan
from gateway.workspace.files.tree import Tree
from gateway.workspace.tools.base import ToolContext, ToolFailed, ToolInput, ToolResult, plural
from gateway.workspace.tools.text_files import read_text

_MOST_CHARACTERS = 1_000_000
_NOTHING = "/dev/null"


class ApplyPatchInput(ToolInput, frozen=True, kw_only=True):
    patch: str
    file_path: str | None = None


class ApplyPatch:
    """Applies a unified diff: all of it, or nothing. A hunk may have moved up or down, but its lines must be there."""

    name = "apply_patch"
    description = "Apply a unified diff (as `diff -u` or `git diff` write it) to files of the project; it may make new files."
    input_type = ApplyPatchInput

    async def run(self, context: ToolContext, wanted: ApplyPatchInput) -> ToolResult:
        patches = _parsed(wanted.patch)
        if wanted.file_path is not None and len(patches) != 1:
            raise ToolFailed("A patch for filePath changes one file, and this one changes others")

        def prepare(tree: Tree, plan: Plan) -> tuple[list[str], list[str]]:
            modified: list[str] = []
            new: list[str] = []
            for patch in patches:
                if patch.is_rename or patch.is_removed_file or patch.is_binary_file:
                    raise ToolFailed("A patch changes text or makes files; rename_files moves them, and nothing here deletes them")
                place = context.project.place(wanted.file_path or _path(patch))
                if str(place) in (*modified, *new):
                    raise ToolFailed(f"The patch changes {place} twice")
                added = patch.source_file == _NOTHING
                if added and tree.status(place) is not None:
                    raise ToolFailed(f"{place} is there already, and the patch makes it")
                text = "" if added else read_text(tree, place)
                plan.folder_of(place, create=added)
                plan.write(place, _patched(text, patch, str(place)).encode())
                (new if added else modified).append(str(place))
            return modified, new

        modified, new = await context.change(self.name, prepare)
        return ToolResult({"modifiedFiles": modified, "newFiles": new}, f"Patched {plural(len(modified) + len(new), 'file')}")


def _parsed(patch: str) -> Sequence[PatchedFile]:
    if len(patch) > _MOST_CHARACTERS:
        raise ToolFailed(f"A patch has at most {_MOST_CHARACTERS:,} characters")
    try:
        patches = PatchSet(StringIO(patch if patch.endswith("\n") else f"{patch}\n"))
    except UnidiffParseError as error:
        raise ToolFailed(f"This is no unified diff: {error}") from error
    if not patches:
        raise ToolFailed("This is no unified diff: it has no `---` and `+++` lines")
    return list(patches)


def _path(patch: PatchedFile) -> str:
    """The file that a patch is for: without git's `a/` and `b/`, and without a time stamp behind it."""
    name = patch.target_file if patch.target_file != _NOTHING else patch.source_file
    return str(name).removeprefix("b/").removeprefix("a/")


def _patched(text: str, patch: PatchedFile, path: str) -> str:
    *whole, rest = text.split("\n")
    lines = [f"{line}\n" for line in whole] + ([rest] if rest else [])
    line_break = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    shift = 0
    for number, hunk in enumerate(patch, 1):
        before, after = _lines(hunk, "-"), [_ended(line, line_break) for line in _lines(hunk, "+")]
        place = _found(lines, before, max(hunk.source_start - 1, 0) + shift)
        if place is None:
            raise ToolFailed(f"{path}: hunk {number} does not fit: its lines are not in the file as they are in the patch")
        lines[place : place + len(before)] = after
        shift += len(after) - len(before)
    return "".join(lines)


def _ended(line: str, line_break: str) -> str:
    """A line with the file's own line break, if it has any."""
    bare = line.rstrip("\r\n")
    return bare + line_break if bare != line else line


def _lines(hunk: Hunk, side: str) -> list[str]:
    """A hunk's lines as they are before it (`-`) or after it (`+`). The last line of a file without a line break has none here."""
    lines: list[str] = []
    last = ""
    for line in hunk:
        if line.line_type == "\\":
            if last in (" ", side) and lines:
                lines[-1] = lines[-1].rstrip("\r\n")
        elif line.line_type in (" ", "", side):
            lines.append(line.value)
        last = line.line_type
    return lines


def _found(lines: Sequence[str], wanted: Sequence[str], expected: int) -> int | None:
    """Where lines stand in a file: the place nearest to where they are expected. Line breaks are not compared."""
    bare = [line.rstrip("\r\n") for line in wanted]
    last = len(lines) - len(bare)
    for distance in range(max(last, expected) + 1):
        for place in {expected - distance, expected + distance}:
            if 0 <= place <= last and [line.rstrip("\r\n") for line in lines[place : place + len(bare)]] == bare:
                return place
    return None
