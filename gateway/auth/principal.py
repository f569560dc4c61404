from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request: an active device of an account."""

    account_id: UUID
    device_id: UUID
