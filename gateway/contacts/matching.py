"""Which contact a card means: the one that it shares a handle with, unless that handle is several people's.

A number that two contacts with different names have (a landline, an office) identifies neither. Whether two cards are two people is known
by their names when both come in one batch, which is the address book at one moment. Over time a name may change: a card that names a known
contact's handle under another name is a new name, unless each of them has a handle that the other has not.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from msgspec.structs import replace

from gateway.contacts.schemas import Contact, ContactBatch, ContactCard, LeftOut
from gateway.message_text.comparing import folded
from gateway.sync.handles import LONGEST_HANDLE, address, handle_of, is_address, other_spellings, phone_number
from shared.ids import new_id

_LONGEST_NAME = 500
_LONGEST_AVATAR_HASH = 200


@dataclass(slots=True, eq=False)
class KnownContact:
    """A contact while a batch is matched. `into` is the older one that it turned out to be."""

    details: Contact
    is_new: bool = False
    changed: bool = False
    into: "KnownContact | None" = None

    @property
    def id(self) -> UUID:
        return self.details.id

    @property
    def final(self) -> "KnownContact":
        return self if self.into is None else self.into.final


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card in the stored spelling, and what was left out of it. One without handles cannot be kept.

    `spellings` are its handles, and how else its numbers are written.
    """

    apple_id: str | None
    phone_number: str | None
    email: str | None
    display_name: str | None
    avatar_hash: str | None
    spellings: Sequence[str]
    left_out: list[LeftOut]


class Matching:
    """Contacts by handle; grows and merges with every card."""

    def __init__(self, owners: Mapping[str, Iterable[Contact]], cards: Iterable[Card]) -> None:
        """`owners` are the known contacts that have the handles of the cards."""
        known = {contact.id: KnownContact(contact) for several in owners.values() for contact in several}
        self._owners = defaultdict(list, {handle: [known[contact.id] for contact in several] for handle, several in owners.items()})
        self._shared = _shared_in(cards)
        self.merged: list[KnownContact] = []
        self.new_handles: list[tuple[str, KnownContact]] = []

    def take(self, card: Card) -> KnownContact:
        """Find or make the card's contact and bring it up to date. A card that shares handles with two contacts says that they are one
        person: the younger becomes part of the older.
        """
        found = sorted(self._meant(card), key=lambda contact: contact.id)
        contact = found[0] if found else self._new()
        for younger in found[1:]:
            self._merge(younger, contact)
        for handle in card.spellings:
            if contact not in self._owners_of(handle):
                self._add_handle(handle, contact)
        now = _updated(contact.details, card)
        contact.changed |= now != contact.details
        contact.details = now
        return contact

    def _meant(self, card: Card) -> set[KnownContact]:
        """The contacts that the card says it is."""
        identified = {owner for handle in card.spellings if (owner := self._identified(handle)) is not None}
        same = {owner for owner in identified if not self._are_two(owner, card)}
        if same:
            return same
        sharing = [owner for handle in card.spellings for owner in self._owners_of(handle) if self._identified(handle) is None]
        name = _folded(card.display_name)
        equal = [owner for owner in sharing if _folded(owner.details.display_name) == name]
        alike = [owner for owner in sharing if name and (other := _folded(owner.details.display_name)) and _are_alike(name, other)]
        return set((equal or alike)[:1])

    def _owners_of(self, handle: str) -> list[KnownContact]:
        return list(dict.fromkeys(owner.final for owner in self._owners[handle]))

    def _identified(self, handle: str) -> KnownContact | None:
        """The one contact that a handle means."""
        owners = self._owners_of(handle)
        return owners[0] if len(owners) == 1 and handle not in self._shared else None

    def _are_two(self, contact: KnownContact, card: Card) -> bool:
        if _are_alike(_folded(contact.details.display_name), _folded(card.display_name)):
            return False
        own, cards = _handles(contact.details), _handles(card)
        return bool(own - cards) and any(contact not in self._owners_of(handle) for handle in cards)

    def _new(self) -> KnownContact:
        nobody = Contact(id=new_id(), apple_id=None, phone_number=None, email=None, display_name=None, avatar_hash=None)
        contact = KnownContact(nobody, is_new=True)
        # Clients may name a contact by its id where they would name a handle; after a merge the old id still means it.
        self._add_handle(str(contact.id), contact)
        return contact

    def _add_handle(self, handle: str, contact: KnownContact) -> None:
        self._owners[handle].append(contact)
        self.new_handles.append((handle, contact))

    def _merge(self, younger: KnownContact, older: KnownContact) -> None:
        one, other = older.details, younger.details
        older.details = replace(
            one,
            apple_id=one.apple_id or other.apple_id,
            phone_number=one.phone_number or other.phone_number,
            email=one.email or other.email,
            display_name=one.display_name or other.display_name,
        )
        older.changed = True
        younger.into = older
        self.merged.append(younger)


def cards(batch: ContactBatch) -> list[Card]:
    """The batch's cards in the stored spelling, each without what cannot be kept of it."""
    return [_card(card, batch.default_region) for card in batch.contacts]


def _card(card: ContactCard, region: str | None) -> Card:
    left_out: list[LeftOut] = []

    def kept(name: str, text: str | None, longest: int) -> str | None:
        if text is None or not text.strip():
            return None
        if "\0" in text:
            left_out.append(LeftOut(field=name, message="must not contain the character NUL"))
            return None
        if len(text) > longest:
            left_out.append(LeftOut(field=name, message=f"has more than {longest} characters"))
            return None
        return text

    apple_id = kept("appleId", card.apple_id, LONGEST_HANDLE)
    phone = kept("phoneNumber", card.phone_number, LONGEST_HANDLE)
    email = kept("email", card.email, LONGEST_HANDLE)
    if phone is not None and (phone := phone_number(phone, region)) is None:
        left_out.append(LeftOut(field="phoneNumber", message="is not a telephone number"))
    if email is not None and not is_address(email := address(email)):
        left_out.append(LeftOut(field="email", message="is not an e-mail address"))
        email = None
    if apple_id is None and phone is None and email is None:
        left_out.append(LeftOut(field=None, message="needs at least one of appleId, phoneNumber and email"))
    if apple_id is not None:
        apple_id = handle_of(apple_id)
    numbers = [number for number in (apple_id, phone) if number is not None]
    handles = [handle for handle in (apple_id, phone, email) if handle is not None]
    return Card(
        apple_id=apple_id,
        phone_number=phone,
        email=email,
        display_name=kept("displayName", card.display_name, _LONGEST_NAME),
        avatar_hash=kept("avatarHash", card.avatar_hash, _LONGEST_AVATAR_HASH),
        spellings=list(dict.fromkeys([*handles, *(other for number in numbers for other in other_spellings(number))])),
        left_out=left_out,
    )


def _handles(contact: Contact | Card) -> set[str]:
    """The newest of each kind."""
    return {handle for handle in (contact.apple_id, contact.phone_number, contact.email) if handle is not None}


def _shared_in(cards: Iterable[Card]) -> set[str]:
    """Handles that cards with different names have."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for card in cards:
        if name := _folded(card.display_name):
            for handle in card.spellings:
                names[handle].add(name)
    return {handle for handle, several in names.items() if not _all_alike(several)}


def _all_alike(names: Iterable[str]) -> bool:
    by_length = sorted(names, key=len)
    return all(_are_alike(shorter, longer) for shorter, longer in pairwise(by_length))


def _are_alike(one: str, other: str) -> bool:
    """Whether two folded names may be one person's: the same, a shorter form of it ("J", "John", "Doe, John"), or unknown."""
    if one.startswith(other) or other.startswith(one):
        return True
    words, others = _words(one), _words(other)
    return bool(words and others) and (words <= others or others <= words)


def _words(folded: str) -> set[str]:
    return set("".join(character if character.isalnum() else " " for character in folded).split())


def _folded(name: str | None) -> str:
    return " ".join(folded(name or "").split())


def _updated(contact: Contact, card: Card) -> Contact:
    """What a card says holds; a name or handle that it leaves out stays."""
    is_known_number = card.phone_number in other_spellings(contact.phone_number or "")
    return Contact(
        id=contact.id,
        apple_id=card.apple_id or contact.apple_id,
        phone_number=contact.phone_number if is_known_number else card.phone_number or contact.phone_number,
        email=card.email or contact.email,
        display_name=card.display_name or contact.display_name,
        avatar_hash=card.avatar_hash,
    )
