"""Bodies of the ML service's `/adapters`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

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
