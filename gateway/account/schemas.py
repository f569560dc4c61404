from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from gateway.wire import Wire


class Account(Wire, frozen=True, kw_only=True):
    """The account that a device belongs to, and how much is in it. `responses` counts drafts in any state."""

    id: UUID
    created_at: datetime
    devices: Annotated[int, Meta(description="Those that are paired now.")]
    contacts: int
    conversations: int
    messages: int
    responses: int
    samples: int
    training_jobs: int
    adapters: int


class AccountDeletion(Wire, frozen=True, kw_only=True):
    confirm: Annotated[UUID, Meta(description="The account's id, as `GET /api/account` says it.")]
