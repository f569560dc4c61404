from typing import Annotated
from uuid import UUID

from msgspec import Meta

from gateway.wire import Wire

MAXIMUM_CONTACTS = 1_000

Region = Annotated[
    str, Meta(pattern="^[A-Z]{2}$", description="The country (ISO 3166-1) of telephone numbers that are written without a country code.")
]


class ContactCard(Wire, frozen=True, kw_only=True):
    """A person in the owner's address book. At least one of `appleId`, `phoneNumber` and `email`.

    What cannot be kept of a card is left out and told; it refuses neither the card nor the batch (`matching.py`).
    """

    apple_id: Annotated[str, Meta(description="An address, a telephone number, or an id of the client's own.")] | None = None
    phone_number: (
        Annotated[str, Meta(description="Kept as E.164; a short code, or a number whose country nobody says, as its digits.")] | None
    ) = None
    email: Annotated[str, Meta(description="Kept in lower case.")] | None = None
    display_name: str | None = None
    avatar_hash: str | None = None


class ContactBatch(Wire, frozen=True, kw_only=True):
    contacts: Annotated[list[ContactCard], Meta(max_length=MAXIMUM_CONTACTS)]
    default_region: Region | None = None


class Contact(Wire, frozen=True, kw_only=True):
    """A known contact. Its numbers and addresses are the newest that were synced; older ones still mean it."""

    id: UUID
    apple_id: str | None
    phone_number: str | None
    email: str | None
    display_name: Annotated[str, Meta(description="Null of a contact that was never sent with a name.")] | None
    avatar_hash: str | None


class LeftOut(Wire, frozen=True, kw_only=True):
    """Something of a card that was not kept, and why. Without a `field` it is the card itself."""

    field: str | None
    message: str


class ContactResult(Wire, frozen=True, kw_only=True):
    """What became of a card: which contact it is, if it could be kept at all."""

    id: UUID | None
    left_out: list[LeftOut]


class SyncedContacts(Wire, frozen=True, kw_only=True):
    """What became of a batch. `contacts` are those of the cards that were kept, in the order sent; `results` has an entry for
    every card. The counts are of contacts: one that was sent twice counts once.
    """

    created: int
    updated: int
    unchanged: int
    contacts: list[Contact]
    results: list[ContactResult]
