from typing import Annotated
from uuid import UUID

from msgspec import Meta

from gateway.wire import Wire


class AccountDeletion(Wire, frozen=True, kw_only=True):
    confirm: Annotated[UUID, Meta(description="The account's id: the claim `acc` of the device token, and the first line of an export.")]
