"""Which contact a card means: the one that it shares a handle with."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from gateway.errors import BadRequest
from gateway.sync.handles import UnusableNumberError, handle_of, phone_number
from gateway.sync.schemas import ContactBatch, ContactCard
from shared.ids import new_id


@dataclass(slots=True, kw_only=True, eq=False)
class KnownContact:
    """A contact while a batch is matched. `into` is the older one that it turned out to be."""

    id: UUID
    apple_id: str | None
    phone_number: str | None
    email: str | None
    display_name: str
    avatar_hash: str | None
    is_new: bool = False
    changed: bool = False
    into: "KnownContact | None" = None

    @property
    def final(self) -> "KnownContact":
        return self if self.into is None else self.into.final


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card in the stored spelling."""

    apple_id: str | None
    phone_number: str | None
    email: str | None
    display_name: str
    avatar_hash: str | None

    @property
    def handles(self) -> list[str]:
        return list(dict.fromkeys(handle for handle in (self.apple_id, self.phone_number, self.email) if handle is not None))


@dataclass(slots=True)
class Matching:
    """Contacts by handle; grows and merges with every card."""

    owners: dict[str, KnownContact]
    seen: list[KnownContact] = field(default_factory=list)
    merged: list[KnownContact] = field(default_factory=list)
    new_handles: dict[str, KnownContact] = field(default_factory=dict)

    def take(self, card: Card) -> None:
        """Find or make the card's contact and bring it up to date. A card that shares handles with two contacts says that they are one
        person: the younger becomes part of the older.
        """
        found = sorted({self.owners[handle].final for handle in card.handles if handle in self.owners}, key=lambda contact: contact.id)
        contact = found[0] if found else self._new(card)
        for younger in found[1:]:
            self._merge(younger, contact)
        for handle in card.handles:
            if handle not in self.owners:
                self.owners[handle] = self.new_handles[handle] = contact
        _update(contact, card)
        self.seen.append(contact)

    def _new(self, card: Card) -> KnownContact:
        contact = KnownContact(
            id=new_id(),
            apple_id=card.apple_id,
            phone_number=card.phone_number,
            email=card.email,
            display_name=card.display_name,
            avatar_hash=card.avatar_hash,
            is_new=True,
        )
        # Clients may name a contact by its id where they would name a handle; after a merge the old id still means it.
        self.owners[str(contact.id)] = self.new_handles[str(contact.id)] = contact
        return contact

    def _merge(self, younger: KnownContact, older: KnownContact) -> None:
        older.apple_id = older.apple_id or younger.apple_id
        older.phone_number = older.phone_number or younger.phone_number
        older.email = older.email or younger.email
        older.changed = True
        younger.into = older
        self.merged.append(younger)

    def distinct(self) -> list[KnownContact]:
        """The contacts that the cards turned out to be, each once."""
        return list(dict.fromkeys(contact.final for contact in self.seen))


def cards(batch: ContactBatch) -> list[Card]:
    """The batch's cards in the stored spelling.

    Raises:
        BadRequest: names the field at fault; then nothing of the batch is stored.
    """
    return [_card(f"contacts[{index}]", card, batch.default_region) for index, card in enumerate(batch.contacts)]


def all_handles(some: Iterable[Card]) -> Sequence[str]:
    return list({handle for card in some for handle in card.handles})


def _card(place: str, card: ContactCard, region: str | None) -> Card:
    if card.apple_id is None and card.phone_number is None and card.email is None:
        raise BadRequest.field(place, "needs at least one of appleId, phoneNumber and email")
    try:
        phone = phone_number(card.phone_number, region) if card.phone_number is not None else None
    except UnusableNumberError as error:
        raise BadRequest.field(f"{place}.phoneNumber", str(error)) from None
    return Card(
        apple_id=handle_of(card.apple_id) if card.apple_id is not None else None,
        phone_number=phone,
        email=card.email.lower() if card.email is not None else None,
        display_name=card.display_name,
        avatar_hash=card.avatar_hash,
    )


def _update(contact: KnownContact, card: Card) -> None:
    """What a card says holds; a handle that it leaves out stays."""
    before = (contact.apple_id, contact.phone_number, contact.email, contact.display_name, contact.avatar_hash)
    contact.apple_id = card.apple_id or contact.apple_id
    contact.phone_number = card.phone_number or contact.phone_number
    contact.email = card.email or contact.email
    contact.display_name = card.display_name
    contact.avatar_hash = card.avatar_hash
    now = (contact.apple_id, contact.phone_number, contact.email, contact.display_name, contact.avatar_hash)
    contact.changed |= now != before
