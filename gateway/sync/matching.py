"""Which contact a card means: the one that it shares a handle with, unless that handle is several people's.

A number that two contacts with different names have (a landline, an office) identifies neither. Whether two cards are two people is known
by their names when both come in one batch, which is the address book at one moment. Over time a name may change: a card that names a known
contact's handle under another name is a new name, unless each of them has a handle that the other has not.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from gateway.sync.handles import LONGEST_HANDLE, UnusableNumberError, address, handle_of, other_spellings, phone_number
from gateway.sync.schemas import ContactBatch, ContactCard, LeftOut
from shared.ids import new_id

_LONGEST_NAME = 500
_LONGEST_AVATAR_HASH = 200
_NUL = "must not contain the character NUL"


@dataclass(slots=True, kw_only=True, eq=False)
class KnownContact:
    """A contact while a batch is matched. `into` is the older one that it turned out to be."""

    id: UUID
    apple_id: str | None
    phone_number: str | None
    email: str | None
    display_name: str | None
    avatar_hash: str | None
    is_new: bool = False
    changed: bool = False
    into: "KnownContact | None" = None

    @property
    def final(self) -> "KnownContact":
        return self if self.into is None else self.into.final

    @property
    def handles(self) -> set[str]:
        """The newest of each kind."""
        return {handle for handle in (self.apple_id, self.phone_number, self.email) if handle is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card in the stored spelling, and what was left out of it. One without handles cannot be kept."""

    apple_id: str | None
    phone_number: str | None
    email: str | None
    display_name: str | None
    avatar_hash: str | None
    left_out: list[LeftOut]

    @property
    def handles(self) -> list[str]:
        return list(dict.fromkeys(handle for handle in (self.apple_id, self.phone_number, self.email) if handle is not None))

    @property
    def spellings(self) -> list[str]:
        """Its handles, and how else its numbers are written."""
        numbers = [number for number in (self.apple_id, self.phone_number) if number is not None]
        return list(dict.fromkeys([*self.handles, *(other for number in numbers for other in other_spellings(number))]))


class Matching:
    """Contacts by handle; grows and merges with every card."""

    def __init__(self, owners: dict[str, list[KnownContact]], cards: Iterable[Card]) -> None:
        """`owners` are the known contacts that have the handles of the cards."""
        self._owners = defaultdict(list, owners)
        self._shared = _shared_in(cards)
        self.seen: list[KnownContact] = []
        self.merged: list[KnownContact] = []
        self.new_handles: list[tuple[str, KnownContact]] = []

    def take(self, card: Card) -> KnownContact:
        """Find or make the card's contact and bring it up to date. A card that shares handles with two contacts says that they are one
        person: the younger becomes part of the older.
        """
        found = sorted(self._meant(card), key=lambda contact: contact.id)
        contact = found[0] if found else self._new(card)
        for younger in found[1:]:
            self._merge(younger, contact)
        for handle in card.spellings:
            if contact not in self._owners_of(handle):
                self._add_handle(handle, contact)
        _update(contact, card)
        self.seen.append(contact)
        return contact

    def distinct(self) -> list[KnownContact]:
        """The contacts that the cards turned out to be, each once."""
        return list(dict.fromkeys(contact.final for contact in self.seen))

    def _meant(self, card: Card) -> set[KnownContact]:
        """The contacts that the card says it is."""
        identified = {owner for handle in card.spellings if (owner := self._identified(handle)) is not None}
        same = {owner for owner in identified if not self._are_two(owner, card)}
        if same:
            return same
        sharing = [owner for handle in card.spellings for owner in self._owners_of(handle) if self._identified(handle) is None]
        name = _folded(card.display_name)
        equal = [owner for owner in sharing if _folded(owner.display_name) == name]
        alike = [owner for owner in sharing if name and owner.display_name and _are_alike(name, _folded(owner.display_name))]
        return set((equal or alike)[:1])

    def _owners_of(self, handle: str) -> list[KnownContact]:
        return list(dict.fromkeys(owner.final for owner in self._owners[handle]))

    def _identified(self, handle: str) -> KnownContact | None:
        """The one contact that a handle means."""
        owners = self._owners_of(handle)
        return owners[0] if len(owners) == 1 and handle not in self._shared else None

    def _are_two(self, contact: KnownContact, card: Card) -> bool:
        if _are_alike(_folded(contact.display_name), _folded(card.display_name)):
            return False
        return bool(contact.handles.difference(card.handles)) and any(contact not in self._owners_of(handle) for handle in card.handles)

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
        self._add_handle(str(contact.id), contact)
        return contact

    def _add_handle(self, handle: str, contact: KnownContact) -> None:
        self._owners[handle].append(contact)
        self.new_handles.append((handle, contact))

    def _merge(self, younger: KnownContact, older: KnownContact) -> None:
        older.apple_id = older.apple_id or younger.apple_id
        older.phone_number = older.phone_number or younger.phone_number
        older.email = older.email or younger.email
        older.display_name = older.display_name or younger.display_name
        older.changed = True
        younger.into = older
        self.merged.append(younger)


def cards(batch: ContactBatch) -> list[Card]:
    """The batch's cards in the stored spelling, each without what cannot be kept of it."""
    return [_card(card, batch.default_region) for card in batch.contacts]


def all_spellings(some: Iterable[Card]) -> Sequence[str]:
    return list({handle for card in some for handle in card.spellings})


def _card(card: ContactCard, region: str | None) -> Card:
    left_out: list[LeftOut] = []

    def kept(name: str, text: str | None, longest: int) -> str | None:
        if text is None or not text.strip():
            return None
        if "\0" in text:
            left_out.append(LeftOut(field=name, message=_NUL))
            return None
        if len(text) > longest:
            left_out.append(LeftOut(field=name, message=f"has more than {longest} characters"))
            return None
        return text

    apple_id = kept("appleId", card.apple_id, LONGEST_HANDLE)
    phone = kept("phoneNumber", card.phone_number, LONGEST_HANDLE)
    email = kept("email", card.email, LONGEST_HANDLE)
    if phone is not None:
        try:
            phone = phone_number(phone, region)
        except UnusableNumberError as error:
            left_out.append(LeftOut(field="phoneNumber", message=str(error)))
            phone = None
    if email is not None and not _is_address(email := address(email)):
        left_out.append(LeftOut(field="email", message="is not an e-mail address"))
        email = None
    if apple_id is None and phone is None and email is None:
        left_out.append(LeftOut(field=None, message="needs at least one of appleId, phoneNumber and email"))
    return Card(
        apple_id=handle_of(apple_id) if apple_id is not None else None,
        phone_number=phone,
        email=email,
        display_name=kept("displayName", card.display_name, _LONGEST_NAME),
        avatar_hash=kept("avatarHash", card.avatar_hash, _LONGEST_AVATAR_HASH),
        left_out=left_out,
    )


def _is_address(text: str) -> bool:
    name, at, domain = text.partition("@")
    return bool(name and at and domain) and "@" not in domain and not any(map(str.isspace, text))


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
    return " ".join(unicodedata.normalize("NFKC", name or "").casefold().split())


def _update(contact: KnownContact, card: Card) -> None:
    """What a card says holds; a name or handle that it leaves out stays."""
    before = (contact.apple_id, contact.phone_number, contact.email, contact.display_name, contact.avatar_hash)
    contact.apple_id = card.apple_id or contact.apple_id
    if card.phone_number is not None and card.phone_number not in other_spellings(contact.phone_number or ""):
        contact.phone_number = card.phone_number
    contact.email = card.email or contact.email
    contact.display_name = card.display_name or contact.display_name
    contact.avatar_hash = card.avatar_hash
    now = (contact.apple_id, contact.phone_number, contact.email, contact.display_name, contact.avatar_hash)
    contact.changed |= now != before
