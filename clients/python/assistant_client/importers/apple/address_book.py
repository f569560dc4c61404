"""The databases of macOS' Contacts: one for each account, `AddressBook-v22.abcddb`."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from assistant_client.importers.apple import schema
from assistant_client.importers.apple.reading import opened_database
from assistant_client.importers.failures import UnreadableSource
from assistant_client.importers.people import AddressBook, Person

FILE_NAME = "AddressBook-v22.abcddb"
_RECORD = ("ZFIRSTNAME", "ZMIDDLENAME", "ZLASTNAME", "ZNICKNAME", "ZORGANIZATION", "ZUNIQUEID")


def address_book(path: Path) -> AddressBook:
    """The contacts of a database, or of all that lie below a folder.

    Raises:
        UnreadableSource: one may not be read, or is something else.
    """
    paths = sorted(path.rglob(FILE_NAME)) if path.is_dir() else [path]
    if not paths:
        raise UnreadableSource(f"No {FILE_NAME} lies below {path}; on a Mac they are in ~/Library/Application Support/AddressBook")
    return AddressBook(f"address book:{path.resolve()}", [person for each in paths for person in people(each)])


def people(path: Path) -> Iterator[Person]:
    """The people of one database."""
    db = opened_database(path)
    try:
        if not schema.columns(db, "ZABCDRECORD"):
            raise UnreadableSource(f"{path} is no database of Contacts: it lacks the table ZABCDRECORD")
        numbers, addresses = _handles(db, "ZABCDPHONENUMBER", "ZFULLNUMBER"), _handles(db, "ZABCDEMAILADDRESS", "ZADDRESS")
        columns = schema.selection(schema.columns(db, "ZABCDRECORD"), _RECORD, "r")
        for row in db.execute(f"select r.Z_PK, {columns} from ZABCDRECORD r order by r.Z_PK"):  # noqa: S608  # our own words
            if (number := row["Z_PK"]) in numbers or number in addresses:
                yield Person(f"contact {number}", _name(row), tuple(numbers[number]), tuple(addresses[number]), row["ZUNIQUEID"])
    except sqlite3.DatabaseError as error:
        raise UnreadableSource(f"{path} cannot be read: {error}") from error
    finally:
        db.close()


def _handles(db: sqlite3.Connection, table: str, column: str) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    if {column, "ZOWNER"} <= schema.columns(db, table):
        for owner, handle in db.execute(f"select ZOWNER, {column} from {table} order by Z_PK"):  # noqa: S608
            if isinstance(handle, str):
                found[owner].append(handle)
    return found


def _name(row: sqlite3.Row) -> str | None:
    parts = [row[name] for name in ("ZFIRSTNAME", "ZMIDDLENAME", "ZLASTNAME")]
    whole = " ".join(part for part in parts if isinstance(part, str) and part)
    return whole or row["ZNICKNAME"] or row["ZORGANIZATION"]
