import asyncio
import fnmatch
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from msgspec import Meta

from gateway.workspace.files.project import MARKERS, Place
from gateway.workspace.files.tree import FoundFile, TooLarge, Tree
from gateway.workspace.tools.base import ToolContext, ToolFailed, ToolInput, ToolResult, plural
from gateway.workspace.tools.patterns import compiled

_MOST_FILES: Final = 500
"""In one answer."""
_MOST_MATCHES: Final = 20
"""Of one file."""
_LONGEST_LINE: Final = 300
_LARGEST_FILE: Final = 4 * 2**20
_SECONDS: Final = 20.0
_SKIPPED: Final = (*MARKERS, "node_modules", "__pycache__", ".venv")

Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="YYYY-MM-DD")]


class SearchProjectInput(ToolInput, frozen=True, kw_only=True):
    content_pattern: str | None = None
    case_sensitive: bool = False
    file_pattern: str | None = None
    date_after: Day | None = None
    date_before: Day | None = None
    size_min: Annotated[int, Meta(ge=0)] | None = None
    size_max: Annotated[int, Meta(ge=0)] | None = None


class SearchProject:
    """Finds files by name, date, size and content."""

    name = "search_project"
    description = (
        "Find files of the project by a pattern of their content (a regular expression), name (such as *.py or src/**), date and size."
    )
    input_type = SearchProjectInput

    async def run(self, context: ToolContext, wanted: SearchProjectInput) -> ToolResult:
        content = compiled(wanted.content_pattern, case_sensitive=wanted.case_sensitive) if wanted.content_pattern else None
        after, before = _seconds(wanted.date_after, days=0), _seconds(wanted.date_before, days=1)
        patterns = [each.strip() for each in wanted.file_pattern.split("|") if each.strip()] if wanted.file_pattern else []
        by_status = any(each is not None for each in (after, before, wanted.size_min, wanted.size_max))

        def fits(file: FoundFile) -> bool:
            if patterns and not any(_matches(file.place, pattern) for pattern in patterns):
                return False
            if not by_status:
                return True
            try:
                status = file.status()
            except OSError:  # it was removed meanwhile
                return False
            return (
                (after is None or status.st_mtime >= after)
                and (before is None or status.st_mtime < before)
                and (wanted.size_min is None or status.st_size >= wanted.size_min)
                and (wanted.size_max is None or status.st_size <= wanted.size_max)
            )

        def search() -> tuple[list[dict[str, Any]], bool]:
            found: list[dict[str, Any]] = []
            ends = time.monotonic() + _SECONDS
            with Tree(context.project.root) as tree:
                for file in tree.files(_SKIPPED):
                    if len(found) == _MOST_FILES or time.monotonic() > ends:
                        return found, True
                    if not fits(file):
                        continue
                    matches = list(_lines(file, content)) if content is not None else []
                    if content is None or matches:
                        found.append({"path": str(file.place), "matches": matches})
            return found, False

        found, cut = await asyncio.to_thread(search)
        data: dict[str, Any] = {"files": found}
        if cut:
            data["incomplete"] = True
        return ToolResult(data, f"Found {plural(len(found), 'file')}{', and there may be more' if cut else ''}", untrusted=True)


def _matches(place: Place, pattern: str) -> bool:
    """As shells do; a pattern without a slash is of a file's name in any folder, `**` is any folders."""
    name = str(place) if "/" in pattern else place.name
    return fnmatch.fnmatchcase(name, pattern.replace("**/", "*").replace("**", "*"))


def _lines(file: FoundFile, pattern: Any) -> Iterator[str]:
    """The lines of a text file in which a pattern stands, with their numbers; nothing of other files, and of larger ones."""
    try:
        content = file.read(_LARGEST_FILE)
    except (TooLarge, OSError):
        return
    if b"\0" in content[:8192] or pattern.search(content) is None:
        return
    count = 0
    for number, line in enumerate(content.split(b"\n"), 1):
        if pattern.search(line) is not None:
            yield f"{number}: {line.decode('utf-8', 'replace').rstrip()[:_LONGEST_LINE]}"
            count += 1
            if count == _MOST_MATCHES:
                return


def _seconds(day: str | None, *, days: int) -> float | None:
    """The beginning of a day (UTC), or of one some days later, as files have their times."""
    if day is None:
        return None
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() + days * 86_400
    except ValueError:
        raise ToolFailed(f"{day} is no day; write YYYY-MM-DD") from None
