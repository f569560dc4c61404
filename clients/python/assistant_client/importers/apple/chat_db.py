"""Apple's `chat.db` as a source. It is only read: on a Mac, Messages has it open and writes."""

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from assistant_client.importers.apple import schema
from assistant_client.importers.apple.messages import NOTHING_IN_IT, URL_BALLOON, apple_time, message_of, row_name
from assistant_client.importers.apple.reading import opened
from assistant_client.importers.checking import is_handle, problem_of
from assistant_client.importers.failures import UnreadableSource
from assistant_client.importers.items import DamagedRow, Item, LeftOut, Thread, Window
from assistant_client.models import Attachment, ContactCard, SyncedMessage

WINDOW = 5_000
"""Row numbers read at once; between two windows nothing of the database is held."""
_ROWS_BEFORE = 50
"""Rows that are read again to know what stood before: a link's preview follows its message."""
_RECENT = 10_000
_GROUP = 43
_MARKS = 20
_CHATS = "select message_id, min(chat_id) from chat_message_join"
"""Of a message that stands in several chats the oldest."""
_DATES_OF_SEVERAL = "select date from message where ROWID > ? group by date having count(*) > 1"
_IN_NO_CHAT = "in no chat, such as a message that was deleted"
_CHAT_DAMAGED = "the database file is damaged where its chat is told"
_WRITTEN_WITHIN = timedelta(minutes=2)
"""Messages writes a row first, and its chat and text a moment later."""
_REPEATED = "repeats another row, as after a restore"


@dataclass(frozen=True, slots=True)
class _Beside:
    """What is known of messages beside their rows, by the rows' numbers."""

    chats: dict[int, int] = field(default_factory=dict)
    attachments: dict[int, list[Attachment]] = field(default_factory=dict)
    is_damaged: bool = False
    """Whether the chats could not be read."""


class ChatDb:
    """The messages of `chat.db` in the order of their rows, which is the order in which this Mac got them."""

    def __init__(self, path: Path) -> None:
        """Open it to read.

        Raises:
            UnreadableSource: it cannot be opened, or is no database of Messages; the message says what helps.
        """
        self.path = path
        self._db = opened(path)
        self.inode = path.stat().st_ino
        """Of the file that was opened: a restore may put another one in its place."""
        self._select = schema.message_selection(self._db)
        self._handles: dict[int, str] = {}
        self._threads: dict[int, Thread] = {}
        self._latest: dict[tuple[str, str], str] = {}
        """The last text of each sender in each chat: a link whose text it contains is its preview."""

    def close(self) -> None:
        self._db.close()

    @property
    def key(self) -> str:
        return f"chat.db:{self.path.resolve()}"

    def contacts(self) -> Iterator[ContactCard]:
        return iter(())

    def rows(self) -> int:
        """The highest number of a row; deleted ones make it an estimate."""
        try:
            return int(self._db.execute("select max(ROWID) from message").fetchone()[0] or 0)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # its page is damaged
            return self._last_number_given() or 0

    def changes(self) -> tuple[int, int]:
        """Two numbers that are others after anybody wrote to the database, or put another in its place."""
        return int(self._db.execute("pragma data_version").fetchone()[0]), self.inode

    def marks(self, position: int) -> dict[str, str]:
        """The guids of some rows up to a position: rows may be deleted, but never get another guid."""
        step = max(1, position // _MARKS)
        numbers = list(range(position, 0, -step))[:_MARKS]
        return {str(number): guid for number in numbers if (guid := self._guid(number)) is not None}

    def goes_on_from(self, position: int, marks: dict[str, str]) -> bool:
        found = {number: guid for number in marks if number.isdecimal() and (guid := self._guid(int(number))) is not None}
        is_same = bool(found) and all(guid == marks[number] for number, guid in found.items())
        return is_same and position <= (self._last_number_given() or self.rows())

    def _guid(self, number: int) -> str | None:
        try:
            row = self._db.execute("select guid from message where ROWID = ?", (number,)).fetchone()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # its page is damaged
            return None
        return str(row[0]) if row is not None else None

    def _last_number_given(self) -> int | None:
        """The highest row number that there ever was, if SQLite has written it down; rows at the end may have been deleted since."""
        if not schema.columns(self._db, "sqlite_sequence"):
            return None
        row = self._db.execute("select seq from sqlite_sequence where name = 'message'").fetchone()
        return int(row[0]) if row is not None else None

    def windows(self, after: int) -> Iterator[Window]:
        self._learn_people_and_chats()
        repeated = self._repeated(after)
        self._latest.clear()
        if after > 0:
            self._window(max(0, after - _ROWS_BEFORE), after, repeated)
        while (first := self._next_row(after)) is not None:
            after = min(first + WINDOW - 1, max(self.rows(), first))
            yield self._window(first - 1, after, repeated)

    def edited(self, after: int, up_to: int) -> Iterator[Item | LeftOut]:
        """The rows between two positions that were edited or unsent."""
        condition = schema.edited_condition(self._db)
        if condition is None:
            return
        self._learn_people_and_chats()
        rows = self._db.execute(
            f"{self._select} where m.ROWID > ? and m.ROWID <= ? and ({condition}) order by m.ROWID", (after, up_to)
        ).fetchall()
        beside = self._beside(after, up_to) if rows else _Beside()
        for row in rows:
            yield self._item(row, beside)

    def _next_row(self, after: int) -> int | None:
        try:
            row = self._db.execute("select min(ROWID) from message where ROWID > ?", (after,)).fetchone()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # a damaged page
            return after + 1 if after < self.rows() else None
        return row[0] if row else None

    def _window(self, after: int, up_to: int, repeated: set[int]) -> Window:
        """The rows of a range of numbers."""
        window = Window(up_to)
        beside = self._beside(after, up_to)
        for row in self._read(after + 1, up_to, window):
            rowid = row["ROWID"]
            outcome = LeftOut(row_name(rowid), _REPEATED) if rowid in repeated else self._item(row, beside)
            if isinstance(outcome, Item):
                window.items.append(outcome)
                continue
            if window.incomplete_after is None and _may_be_unfinished(row, outcome):
                window.incomplete_after = rowid - 1
            window.left_out.append(outcome)
        return window

    def _read(self, first: int, last: int, window: Window) -> Iterator[sqlite3.Row]:
        """The rows of a range. Where the file is damaged it is halved until the damaged rows are alone."""
        try:
            rows = self._db.execute(f"{self._select} where m.ROWID between ? and ? order by m.ROWID", (first, last)).fetchall()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            if first == last:
                window.left_out.append(LeftOut(row_name(first), "the database file is damaged there", is_damaged=True))
                return
            middle = (first + last) // 2
            yield from self._read(first, middle, window)
            yield from self._read(middle + 1, last, window)
            return
        yield from rows

    def _item(self, row: sqlite3.Row, beside: "_Beside") -> Item | LeftOut:
        name = row_name(row["ROWID"])
        thread = self._thread(beside.chats.get(row["ROWID"]))
        if thread is None:
            return LeftOut(name, _CHAT_DAMAGED, is_damaged=True) if beside.is_damaged else LeftOut(name, _IN_NO_CHAT)
        try:
            message = message_of(row, thread, self._handles, beside.attachments.get(row["ROWID"], []))
            if isinstance(message, LeftOut):
                return message
            if problem := problem_of(message):
                return LeftOut(name, problem, is_damaged=True)
        except DamagedRow as damage:
            return LeftOut(name, str(damage), is_damaged=True)
        except (ValueError, TypeError) as error:
            return LeftOut(name, f"cannot be read ({type(error).__name__})", is_damaged=True)
        if self._is_preview(row, thread, message):
            return LeftOut(name, "preview of the link in the message before")
        return Item(name, thread, message)

    def _is_preview(self, row: sqlite3.Row, thread: Thread, message: SyncedMessage) -> bool:
        """Whether it only shows again a link that its sender's last message has."""
        place = (thread.identifier, message.sender_id)
        if message.text is None:
            return False
        if row["balloon_bundle_id"] == URL_BALLOON and message.text.strip() in self._latest.get(place, ""):
            return True
        self._latest[place] = message.text
        return False

    def _thread(self, chat_id: int | None) -> Thread | None:
        if chat_id is not None and chat_id not in self._threads:
            self._learn_people_and_chats()
        return self._threads.get(chat_id) if chat_id is not None else None

    def _learn_people_and_chats(self) -> None:
        try:
            self._read_people_and_chats()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            raise UnreadableSource(
                f"{self.path} is damaged where its people and chats are; `sqlite3 {self.path.name} .recover` writes what can be saved"
            ) from error

    def _read_people_and_chats(self) -> None:
        self._handles = {rowid: handle for rowid, handle in self._db.execute("select ROWID, id from handle") if is_handle(handle)}
        members: dict[int, list[str]] = defaultdict(list)
        if schema.columns(self._db, "chat_handle_join"):
            for chat_id, handle_id in self._db.execute("select chat_id, handle_id from chat_handle_join order by handle_id"):
                if handle_id in self._handles:
                    members[chat_id].append(self._handles[handle_id])
        chats = schema.selection(schema.columns(self._db, "chat"), schema.CHAT, "c")
        self._threads = {
            row["ROWID"]: _thread_of(row, members[row["ROWID"]])
            for row in self._db.execute(f"select c.ROWID, {chats} from chat c")  # noqa: S608
            if is_handle(row["guid"] or row["chat_identifier"])
        }

    def _beside(self, after: int, up_to: int) -> "_Beside":
        """What other tables have of a range of messages; all of it at once, since there may be no index for a lookup."""
        attachments = self._attachments(after, up_to)
        statement = f"{_CHATS} where message_id > ? and message_id <= ? group by message_id"
        try:
            return _Beside(dict(self._db.execute(statement, (after, up_to)).fetchall()), attachments)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            return _Beside({}, attachments, is_damaged=True)

    def _attachments(self, after: int, up_to: int) -> dict[int, list[Attachment]]:
        there = schema.columns(self._db, "attachment")
        if not there or not schema.columns(self._db, "message_attachment_join"):
            return {}
        found: dict[int, list[Attachment]] = defaultdict(list)
        statement = (
            f"select j.message_id, {schema.selection(there, schema.ATTACHMENT, 'a')} from message_attachment_join j"  # noqa: S608
            " join attachment a on a.ROWID = j.attachment_id where j.message_id > ? and j.message_id <= ? order by a.ROWID"
        )
        try:
            for row in self._db.execute(statement, (after, up_to)).fetchall():
                if not row["hide_attachment"]:  # what an app or a preview needs for itself
                    found[row["message_id"]].append(_attachment(row))
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # texts are worth more than the names of files
            return found
        return found

    def _repeated(self, after: int) -> set[int]:
        """The rows that say again what an earlier one says: the same chat, sender, time and content under another guid."""
        recent = max(0, after - _RECENT)
        statement = f"{self._select} where m.ROWID > ? and m.date in ({_DATES_OF_SEVERAL}) order by m.ROWID"  # our own words
        first: dict[bytes, int] = {}
        repeated: dict[int, int] = {}
        try:
            for row in self._db.execute(statement, (recent, recent)):
                if (number := first.setdefault(_content_digest(row), row["ROWID"])) != row["ROWID"]:
                    repeated[row["ROWID"]] = number
            numbers = repeated.keys() | set(repeated.values())
            chats = {row[0]: row[1] for row in self._db.execute(f"{_CHATS} group by message_id") if row[0] in numbers} if numbers else {}
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # a damaged page: then nothing is taken for a repetition
            return set()
        return {row for row, number in repeated.items() if chats.get(row) == chats.get(number)}


_CONTENT = (
    "handle_id",
    "date",
    "is_from_me",
    "text",
    "attributedBody",
    "item_type",
    "associated_message_guid",
    "associated_message_type",
)


def _may_be_unfinished(row: sqlite3.Row, left_out: LeftOut) -> bool:
    if left_out.reason not in (_IN_NO_CHAT, NOTHING_IN_IT):
        return False
    try:
        sent_at = apple_time(row["date"])
    except DamagedRow:
        return False
    return sent_at is not None and datetime.now(UTC) - sent_at < _WRITTEN_WITHIN


def _content_digest(row: sqlite3.Row) -> bytes:
    return hashlib.blake2b(repr([row[name] for name in _CONTENT]).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _thread_of(row: sqlite3.Row, members: list[str]) -> Thread:
    is_group = row["style"] == _GROUP or ";+;" in (row["guid"] or "")
    identifier = row["guid"] or f"{row['service_name'] or 'iMessage'};{'+' if is_group else '-'};{row['chat_identifier']}"
    if not members and not is_group and row["chat_identifier"]:
        members = [row["chat_identifier"]] if is_handle(row["chat_identifier"]) else []
    return Thread(
        identifier=identifier,
        display_name=row["display_name"] or None,
        is_group=is_group,
        participant_ids=tuple(dict.fromkeys(members)),
    )


def _attachment(row: sqlite3.Row) -> Attachment:
    name = row["transfer_name"] or (PurePosixPath(row["filename"]).name if isinstance(row["filename"], str) else None)
    size = row["total_bytes"]
    text: dict[str, Any] = {key: (value[:most] or None) if isinstance(value, str) else None for key, value, most in (
        ("guid", row["guid"], 200), ("mime_type", row["mime_type"], 200), ("filename", name, 500),
    )}  # fmt: skip
    return Attachment(**text, byte_size=size if isinstance(size, int) and 0 < size < 2**53 else None)
