"""Which kind of source a file is, by what is in it."""

import sqlite3
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from assistant_client.importers.apple import schema
from assistant_client.importers.apple.address_book import FILE_NAME, address_book
from assistant_client.importers.apple.chat_db import ChatDb
from assistant_client.importers.apple.reading import beginning, opened_database
from assistant_client.importers.failures import UnreadableSource
from assistant_client.importers.items import Source
from assistant_client.importers.telegram import TelegramExport, is_telegram
from assistant_client.importers.vcard import vcard_file
from assistant_client.importers.whatsapp import WhatsAppChat, is_whatsapp
from assistant_client.importers.whatsapp_lines import DateOrder

_SQLITE = b"SQLite format 3\0"
_KNOWN = "Messages' chat.db, WhatsApp's text or zip, Telegram's result.json, a vCard file, or AddressBook-v22.abcddb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a file does not say itself."""

    owner: str | None = None
    date_order: DateOrder | None = None
    time_zone: tzinfo | None = None


def opened_source(path: Path, said: Said) -> Source:
    """A source of whatever kind lies at a path.

    Raises:
        UnreadableSource: there is none, or of no kind that is known.
        ImportFailure: the person has to say more.
    """
    if path.is_dir():
        return _in_folder(path, said)
    begin = beginning(path)
    if begin.startswith(_SQLITE):
        return address_book(path) if _is_address_book(path) else ChatDb(path)
    if begin.lstrip(b"\xef\xbb\xbf \t\r\n").upper().startswith(b"BEGIN:VCARD"):
        return vcard_file(path)
    if is_telegram(path):
        return TelegramExport(path, owner=said.owner, time_zone=said.time_zone)
    if begin.startswith(b"PK\x03\x04") or is_whatsapp(path):
        return WhatsAppChat(path, owner=said.owner, date_order=said.date_order, time_zone=said.time_zone)
    raise UnreadableSource(f"{path} is of no kind that is known: {_KNOWN}")


def _in_folder(path: Path, said: Said) -> Source:
    """An unpacked export, or macOS' folder of Messages or of Contacts."""
    for name in ("chat.db", "result.json", "_chat.txt"):
        if (path / name).is_file():
            return opened_source(path / name, said)
    if next(path.rglob(FILE_NAME), None) is not None:
        return address_book(path)
    raise UnreadableSource(f"{path} has nothing of a kind that is known: {_KNOWN}")


def _is_address_book(path: Path) -> bool:
    db = opened_database(path)
    try:
        return bool(schema.columns(db, "ZABCDRECORD"))
    except sqlite3.DatabaseError as error:
        raise UnreadableSource(f"{path} cannot be read: {error}") from error
    finally:
        db.close()
