"""Opens one of Apple's databases to read, and says what helps where that is not allowed."""

import sqlite3
from pathlib import Path
from urllib.parse import quote

from assistant_client.importers.apple import schema
from assistant_client.importers.failures import UnreadableSource

FULL_DISK_ACCESS = (
    "macOS does not let this program read {path}. Either allow it: System Settings → Privacy & Security → Full Disk Access, switch on the"
    " terminal (or the program) that you run this from, and start it anew. Or make a copy in Finder (Go → Go to Folder → {folder}) of"
    " {name} together with {name}-wal, and import the copy."
)
_HEADER = b"SQLite format 3\0"
_BEGINNING = 64


def opened(path: Path) -> sqlite3.Connection:
    """A database of Messages, for reading only.

    Raises:
        UnreadableSource: it may not be read, or is something else.
    """
    db = opened_database(path)
    try:
        lacking = schema.missing(db)
    except sqlite3.DatabaseError as error:
        db.close()
        raise UnreadableSource(f"{path} cannot be read: {error}. If it is a copy, copy the file ending in -wal beside it, too") from error
    if lacking is not None:
        db.close()
        raise UnreadableSource(f"{path} is no database of Messages: it lacks {lacking}")
    return db


def opened_database(path: Path) -> sqlite3.Connection:
    """Any SQLite database, for reading only.

    Raises:
        UnreadableSource: it may not be read, or is no SQLite database.
    """
    if not beginning(path).startswith(_HEADER):
        raise UnreadableSource(f"{path} is no SQLite database")
    db = _connected(path, "mode=ro")
    try:
        db.execute("select 1 from sqlite_master limit 1").fetchone()
    except sqlite3.OperationalError:
        # A copy in a folder that may not be written: SQLite wants to make its shared memory there. Nobody writes to such a file.
        db.close()
        db = _connected(path, "mode=ro&immutable=1")
    except sqlite3.DatabaseError as error:
        db.close()
        raise UnreadableSource(f"{path} cannot be read: {error}") from error
    return db


def _connected(path: Path, parameters: str) -> sqlite3.Connection:
    # A follower and who writes the progress are one thread; a test may end it from another.
    db = sqlite3.connect(f"file:{quote(str(path.resolve()))}?{parameters}", uri=True, timeout=30)
    db.row_factory = sqlite3.Row
    db.text_factory = _text
    db.execute("pragma query_only = 1")
    return db


def _text(data: bytes) -> str:
    """Bytes that are no UTF-8 stay recognisable, so that their row is found and not the whole window lost."""
    return data.decode("utf-8", "surrogateescape")


def beginning(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        UnreadableSource: it is not there, or may not be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_BEGINNING)
    except PermissionError as error:
        raise UnreadableSource(FULL_DISK_ACCESS.format(path=path, folder=path.parent, name=path.name)) from error
    except FileNotFoundError as error:
        raise UnreadableSource(f"{path} is not there") from error
    except OSError as error:
        raise UnreadableSource(f"{path} cannot be read: {error.strerror}") from error
