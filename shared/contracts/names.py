"""Names that the ML service makes folders and keys of: of scopes, adapters and trainings."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from annotated_types import MaxLen

_NAME: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")


def is_name(text: str) -> bool:
    """Whether a text can be the name of a folder everywhere: letters, digits, `_` and `-`, at most 100, no sign first."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class _Pattern:
    """Has pydantic check a string's form, by a method that it looks for: the gateway, too, imports this file, and has no pydantic."""

    pattern: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**handler(source), "pattern": self.pattern}


Name = Annotated[str, _Pattern(_NAME.pattern)]
"""See `is_name`."""
AdapterId = Name
Scope = Name
"""An account's data in the ML service: cached answers, jobs, trainings, adapters, and what the engine keeps of prompts. Nothing of one
scope is used for another. The gateway gives an account's id."""

BASE_SCOPE: Final = "default"
"""The scope of requests that name none."""
TraceParent = Annotated[str, MaxLen(100)]
"""The span that a job belongs to (W3C Trace Context). The service sets it where it traces."""
