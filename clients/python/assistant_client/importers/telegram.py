"""Telegram's `result.json`, of one chat or of the whole account, as a source."""

import hashlib
import mmap
from collections.abc import Iterator
from datetime import tzinfo
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from assistant_client.importers.checking import problem_of, storable
from assistant_client.importers.failures import ImportFailure, UnreadableSource
from assistant_client.importers.items import DamagedRow, Item, LeftOut, Thread, Window
from assistant_client.importers.people import Person, cards_of
from assistant_client.importers.telegram_rows import PREFIX, Row, Sender, messages_of, row_name
from assistant_client.models import ContactCard

WINDOW = 1_000
_DIRECT = ("personal_chat",)
_GROUPS = ("private_group", "private_supergroup", "public_supergroup")
_NOT_PEOPLE = {
    "bot_chat": "chat with a program",
    "saved_messages": "note to oneself",
    "private_channel": "channel",
    "public_channel": "channel",
}


class Chat(Struct):
    """A chat; its messages are read one by one later."""

    id: int
    type: str
    name: str | None = None
    messages: list[Raw] = []


class _Chats(Struct):
    entries: list[Raw] = msgspec.field(default_factory=list, name="list")


class _Owner(Struct):
    user_id: int | None = None


class _Contact(Struct):
    user_id: int | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone_number: str | None = None


class _Contacts(Struct):
    entries: list[Raw] = msgspec.field(default_factory=list, name="list")


class _Export(Struct):
    personal_information: _Owner | None = None
    contacts: _Contacts | None = None
    chats: _Chats | None = None
    left_chats: _Chats | None = None
    id: int | None = None
    type: str | None = None
    messages: Raw = Raw()


class TelegramExport:
    """The messages of an export, chat by chat. A position is a number of rows.

    The file is mapped, not read: of its messages only those of one window are held.
    """

    def __init__(self, path: Path, *, owner: str | None = None, time_zone: tzinfo | None = None) -> None:
        """Find its chats.

        Args:
            owner: the owner's name as the export has it; needed of a single group.
            time_zone: of exports of old versions, whose times have none; this machine's if None.

        Raises:
            UnreadableSource: it is no export, or was cut off.
            ImportFailure: the owner has to be said.
        """
        self.path = path
        self._time_zone = time_zone
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            export = msgspec.json.decode(data, type=_Export)
            self._chats = self._chats_of(export, data)
        except (OSError, ValueError) as error:
            raise UnreadableSource(f"{path} is no export of Telegram, or was cut off: {_place(error)}. Export it anew as JSON") from error
        self._contacts = export.contacts.entries if export.contacts is not None else []
        self._owner_ids = {chat.id: self._owner_of(chat, export, owner) for chat in self._chats if chat.type in (*_DIRECT, *_GROUPS)}
        self.key = f"telegram:{hashlib.sha256(data).hexdigest()}:{owner}:{time_zone}"

    def close(self) -> None:
        pass

    def contacts(self) -> Iterator[ContactCard]:
        """The account's address book, and whoever wrote in a chat, under the id that is their messages' sender."""
        for raw in self._contacts:
            try:
                contact = msgspec.json.decode(raw, type=_Contact)
            except ValueError:  # no JSON of this form, or no UTF-8
                continue
            name = " ".join(part for part in (contact.first_name, contact.last_name) if part)
            uid = f"{PREFIX}user{contact.user_id}" if contact.user_id else None
            if uid is not None and contact.phone_number:
                yield ContactCard(apple_id=uid, phone_number=contact.phone_number, display_name=storable(name) or None)
            else:
                yield from cards_of(Person("contact", name, (contact.phone_number or "",)))
        for sender_id, name in self._senders().items():
            yield ContactCard(apple_id=PREFIX + sender_id, display_name=storable(name)[:200])

    def rows(self) -> int:
        return sum(len(chat.messages) for chat in self._chats)

    def marks(self, position: int) -> dict[str, str]:
        return {}

    def goes_on_from(self, position: int, marks: dict[str, str]) -> bool:
        """The key is of the whole content: with another one, another progress is read."""
        return position <= self.rows()

    def windows(self, after: int) -> Iterator[Window]:
        position = 0
        for chat in self._chats:
            thread = _thread(chat, self._senders_of(chat))
            for begin in range(0, len(chat.messages), WINDOW):
                rows = chat.messages[begin : begin + WINDOW]
                position += len(rows)
                if position > after:
                    window = Window(position)
                    for place, raw in enumerate(rows, start=begin):
                        self._add(raw, place, chat, thread, window)
                    yield window

    def _add(self, raw: Raw, place: int, chat: Chat, thread: Thread, window: Window) -> None:
        """Add what a row becomes."""
        name = f"row {place} of chat {chat.id}"
        if chat.type not in (*_DIRECT, *_GROUPS):
            window.left_out.append(LeftOut(name, _NOT_PEOPLE.get(chat.type, "chat of a kind that is not known")))
            return
        try:
            row = msgspec.json.decode(raw, type=Row)
            name = row_name(chat.id, row.id)
            for message in messages_of(row, chat.id, self._owner_ids[chat.id], self._time_zone):
                if isinstance(message, LeftOut):
                    window.left_out.append(message)
                elif problem := problem_of(message):
                    window.left_out.append(LeftOut(name, problem, is_damaged=True))
                else:
                    window.items.append(Item(name, thread, message))
        except DamagedRow as damage:
            window.left_out.append(LeftOut(name, str(damage), is_damaged=True))
        except ValueError:  # no JSON of this form, or no UTF-8
            window.left_out.append(LeftOut(name, "a row of another form", is_damaged=True))

    def _chats_of(self, export: _Export, data: mmap.mmap) -> list[Chat]:
        if export.messages != Raw():
            return [msgspec.json.decode(data, type=Chat)]
        if export.chats is None:
            raise ValueError("it has neither `messages` nor `chats`")
        raws = [*export.chats.entries, *(export.left_chats.entries if export.left_chats is not None else [])]
        return [msgspec.json.decode(raw, type=Chat) for raw in raws]

    def _owner_of(self, chat: Chat, export: _Export, owner: str | None) -> str:
        """The owner's id: the account says it, or a chat of two does."""
        if export.personal_information is not None and export.personal_information.user_id:
            return f"user{export.personal_information.user_id}"
        senders = self._senders_of(chat)
        if owner is not None:
            found = [sender_id for sender_id, name in senders.items() if name == owner]
            if len(found) == 1:
                return found[0]
            names = ", ".join(sorted(set(senders.values())))
            raise ImportFailure(f"{'Nobody is' if not found else 'Several are'} called {owner!r} in {self.path.name}; there are: {names}")
        if chat.type in _DIRECT:
            return next((sender_id for sender_id in senders if sender_id != f"user{chat.id}"), "")
        names = ", ".join(sorted(set(senders.values())))
        raise ImportFailure(f"Say who you are in {self.path.name}: --owner NAME, which is one of: {names}")

    def _senders(self) -> dict[str, str]:
        """Everybody but the owner."""
        return {
            sender_id: name
            for chat in self._chats
            if chat.id in self._owner_ids
            for sender_id, name in self._senders_of(chat).items()
            if sender_id != self._owner_ids[chat.id]
        }

    def _senders_of(self, chat: Chat) -> dict[str, str]:
        """The names of who wrote in a chat, by id; the last name of each."""
        found: dict[str, str] = {}
        if chat.type in _NOT_PEOPLE:
            return found
        for raw in chat.messages:
            try:
                sender = msgspec.json.decode(raw, type=Sender)
            except ValueError:  # no JSON of this form, or no UTF-8
                continue
            if sender.from_id:
                found[sender.from_id] = sender.name or found.get(sender.from_id, sender.from_id)
        return found


def is_telegram(path: Path) -> bool:
    """Whether it looks like an export, by how it begins."""
    with path.open("rb") as file:
        begin = file.read(4_096).lstrip()
    return begin.startswith(b"{") and any(word in begin for word in (b'"messages"', b'"personal_information"', b'"chats"', b'"about"'))


def _thread(chat: Chat, senders: dict[str, str]) -> Thread:
    is_group = chat.type in _GROUPS
    return Thread(
        identifier=f"Telegram;{'+' if is_group else '-'};{PREFIX}{'' if is_group else 'user'}{chat.id}",
        display_name=chat.name or None,
        is_group=is_group,
        participant_ids=() if is_group else (f"{PREFIX}user{chat.id}",),
    )


def _place(error: Exception) -> str:
    """Why a file is no JSON, without quoting it."""
    return str(error.strerror) if isinstance(error, OSError) else str(error)
