"""What every tool has: a name, a description, the type of its input, and what it does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct

from gateway.workspace.files.changes import Plan
from gateway.workspace.files.project import Project
from gateway.workspace.files.tree import Tree

Input = TypeVar("Input", bound=Struct)
Prepared = TypeVar("Prepared")
MOST_PATHS: Final = 200
"""Of one call."""


class ToolInput(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The base of every tool's input: camelCase, and nothing that the schema does not name."""


class ToolFailed(Exception):
    """The tool could not do it, and nothing was changed. The message is shown to the model and to clients."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool brought: `data` for the model, `summary` a sentence for people. `untrusted`: whether others may have written the data."""

    data: dict[str, Any]
    summary: str
    untrusted: bool = False


class ToolContext(Protocol):
    """What a tool may use."""

    @property
    def project(self) -> Project: ...

    @property
    def commands(self) -> Sequence[str]:
        """The commands that may be run."""
        ...

    async def change(self, tool: str, prepare: Callable[[Tree, Plan], Prepared]) -> Prepared:
        """Make a change that can be undone: `prepare` puts it together in a thread, then it is stored, then made.

        Raises:
            ToolFailed: it cannot be made; nothing was touched.
        """
        ...

    async def add_files(self, paths: Sequence[str]) -> None:
        """Have these files' content in the model's context from now on."""
        ...

    async def remove_files(self, paths: Sequence[str]) -> list[str]:
        """Have these files' content in the context no more; those that were."""
        ...


class Tool(Protocol, Generic[Input]):
    """One thing that a model can do. `input_type` is the type of what it is given."""

    name: str
    description: str
    input_type: type[Input]

    async def run(self, context: ToolContext, wanted: Input) -> ToolResult:
        """Do it.

        Raises:
            ToolFailed: it could not be done.
        """
        ...


def input_schema(tool: Tool[Any]) -> dict[str, Any]:
    """A tool's input as a JSON Schema without references, since some constrained decoders follow none."""
    (schema,), definitions = msgspec.json.schema_components([tool.input_type], ref_template="{name}")
    return dict(_inlined(schema, definitions))


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if (name := schema.get("$ref")) is not None:
        return _inlined(definitions[name], definitions)
    return {
        key: _inlined(value, definitions)
        for key, value in schema.items()
        if key not in ("title", "default", "description") or key == "properties"
    }


def plural(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def inside(folder: str, source: str) -> str:
    """Where a source goes that is moved into a folder."""
    return str(Path(folder) / Path(source).name)
