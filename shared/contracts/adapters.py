"""Bodies of the ML service's `/adapters`."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from annotated_types import MaxLen, MinLen, Predicate

BASE_SCOPE: Final = "default"

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"
_NAME = re.compile(NAME)


def is_name(text: str) -> bool:
    """Whether a text can be the name of a folder everywhere: letters, digits, `_` and `-`, at most 100."""
    return _NAME.fullmatch(text) is not None


AdapterId = Annotated[str, MinLen(1), MaxLen(100), Predicate(is_name)]
Scope = Annotated[str, MinLen(1), MaxLen(100), Predicate(is_name)]
"""Whose adapter it is (the account): it is found under this scope only."""
AdapterStatus = Literal["ready", "set_aside"]
"""`ready` can be served now; `set_aside` belongs to another base model than the one that serves, and waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterInfo:
    """One immutable version of a personal adapter. `loaded` says whether the engine of the replica that answers holds it."""

    adapter_id: str
    scope: str
    base_model: str
    rank: int
    size_bytes: int
    created_at: datetime
    status: AdapterStatus
    loaded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterList:
    """A scope's adapters, newest first."""

    adapters: list[AdapterInfo]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptersDeleted:
    """How many adapters were deleted."""

    deleted: int
