"""People of an address book as the gateway's contacts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from assistant_client.importers.checking import is_handle, storable
from assistant_client.importers.items import LeftOut, Window
from assistant_client.models import ContactCard

_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with all numbers and addresses. `row` names the entry in its source."""

    row: str
    name: str | None
    phone_numbers: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    uid: str | None = None


class AddressBook:
    """A source of contacts alone."""

    def __init__(self, key: str, entries: Iterable[Person | LeftOut]) -> None:
        self.key = key
        self.left_out: list[LeftOut] = []
        self._entries = entries

    def contacts(self) -> Iterator[ContactCard]:
        for entry in self._entries:
            if isinstance(entry, LeftOut):
                self.left_out.append(entry)
                continue
            cards = list(cards_of(entry))
            if not cards:
                self.left_out.append(LeftOut(entry.row, "contact without a number or an address"))
            yield from cards

    def rows(self) -> int:
        return 0

    def marks(self, position: int) -> dict[str, str]:
        return {}

    def goes_on_from(self, position: int, marks: dict[str, str]) -> bool:
        return False

    def windows(self, after: int) -> Iterator[Window]:
        """No messages; but what was left out of the contacts."""
        if self.left_out:
            yield Window(0, left_out=self.left_out)

    def close(self) -> None:
        pass


def cards_of(person: Person) -> Iterator[ContactCard]:
    """A card has one number and one address; the further ones come in cards of their own, which share a handle with the first."""
    phones = [number for number in dict.fromkeys(map(str.strip, person.phone_numbers)) if is_handle(number)]
    emails = [email for email in dict.fromkeys(map(str.strip, person.emails)) if is_handle(email) and "@" in email]
    if not phones and not emails:
        return
    name = storable(person.name or "").strip()[:_LONGEST_NAME] or None
    uid = person.uid if is_handle(person.uid) else None
    shared = emails[0] if emails else uid or phones[0]
    first_id = None if emails or len(phones) < 2 else shared
    yield ContactCard(apple_id=first_id, phone_number=_first(phones), email=_first(emails), display_name=name)
    for number in phones[1:]:
        yield ContactCard(apple_id=shared, phone_number=number, display_name=name)
    for email in emails[1:]:
        yield ContactCard(apple_id=shared, email=email, display_name=name)


def _first(handles: list[str]) -> str | None:
    return handles[0] if handles else None
