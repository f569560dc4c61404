"""Writes a `chat.db` as Messages does, with the tables and columns of macOS 15 that it fills."""

import plistlib
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.clients.importers.made_typedstream import attributed_body

START = datetime(2026, 3, 6, 12, tzinfo=UTC)
EPOCH = datetime(2001, 1, 1, tzinfo=UTC)
SCHEMA = """
    create table handle (
        ROWID integer primary key autoincrement unique, id text not null, country text, service text not null, uncanonicalized_id text,
        person_centric_id text, unique (id, service)
    );
    create table chat (
        ROWID integer primary key autoincrement, guid text unique not null, style integer, state integer, account_id text, properties blob,
        chat_identifier text, service_name text, room_name text, account_login text, is_archived integer default 0,
        last_addressed_handle text, display_name text, group_id text, is_filtered integer default 0, successful_query integer
    );
    create table message (
        ROWID integer primary key autoincrement, guid text unique not null, text text, replace integer default 0, service_center text,
        handle_id integer default 0, subject text, country text, attributedBody blob, version integer default 0, type integer default 0,
        service text, account text, account_guid text, error integer default 0, date integer, date_read integer, date_delivered integer,
        is_delivered integer default 0, is_finished integer default 0, is_from_me integer default 0, is_empty integer default 0,
        is_read integer default 0, is_system_message integer default 0, is_sent integer default 0, cache_has_attachments integer default 0,
        cache_roomnames text, item_type integer default 0, other_handle integer default 0, group_title text,
        group_action_type integer default 0, share_status integer default 0, associated_message_guid text,
        associated_message_type integer default 0, balloon_bundle_id text, payload_data blob, expressive_send_style_id text,
        associated_message_range_location integer default 0, associated_message_range_length integer default 0,
        message_summary_info blob, destination_caller_id text, reply_to_guid text, sort_id integer, is_spam integer default 0,
        thread_originator_guid text, thread_originator_part text, syndication_ranges text, was_delivered_quietly integer default 0,
        did_notify_recipient integer default 0, synced_syndication_ranges text, date_retracted integer default 0,
        date_edited integer default 0, was_detonated integer default 0, part_count integer, is_stewie integer default 0,
        is_kt_verified integer default 0, is_sos integer default 0, is_critical integer default 0, bia_reference_id text,
        fallback_hash text, associated_message_emoji text default null, is_pending_satellite_send integer default 0,
        needs_relay integer default 0, schedule_type integer default 0, schedule_state integer default 0
    );
    create table attachment (
        ROWID integer primary key autoincrement, guid text unique not null, created_date integer default 0, filename text, uti text,
        mime_type text, transfer_state integer default 0, is_outgoing integer default 0, user_info blob, transfer_name text,
        total_bytes integer default 0, is_sticker integer default 0, hide_attachment integer default 0
    );
    create table chat_handle_join (chat_id integer, handle_id integer, unique (chat_id, handle_id));
    create table chat_message_join (chat_id integer, message_id integer, message_date integer default 0, primary key (chat_id, message_id));
    create table message_attachment_join (message_id integer, attachment_id integer, unique (message_id, attachment_id));
"""


def apple_date(time: datetime) -> int:
    """Nanoseconds since 2001."""
    return (time - EPOCH) // timedelta(microseconds=1) * 1_000


class MadeChatDb:
    """A database to fill. Every message is a minute after the one before, if nothing else is said."""

    def __init__(self, path: Path, schema: str = SCHEMA) -> None:
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("pragma journal_mode = wal")
        self.db.executescript(schema)
        self._minutes = 0

    def close(self) -> None:
        self.db.close()

    def handle(self, handle: str, service: str = "iMessage") -> int:
        return self._insert("handle", id=handle, service=service)

    def direct_chat(self, handle: str, service: str = "iMessage") -> "MadeChat":
        handle_id = self.handle(handle, service)
        chat_id = self._insert("chat", guid=f"{service};-;{handle}", style=45, chat_identifier=handle, service_name=service)
        self._insert("chat_handle_join", chat_id=chat_id, handle_id=handle_id)
        return MadeChat(self, chat_id, handle_id)

    def group(self, name: str | None, *handle_ids: int) -> "MadeChat":
        identifier = f"chat{uuid4().int % 10**18}"
        chat_id = self._insert(
            "chat", guid=f"iMessage;+;{identifier}", style=43, chat_identifier=identifier, service_name="iMessage", display_name=name
        )
        for handle_id in handle_ids:
            self._insert("chat_handle_join", chat_id=chat_id, handle_id=handle_id)
        return MadeChat(self, chat_id, handle_ids[0])

    def message(self, *chat_ids: int, **columns: Any) -> str:
        """A row of `message`; returns its guid."""
        self._minutes += 1
        columns = {"guid": str(uuid4()).upper(), "date": apple_date(START + timedelta(minutes=self._minutes)), **columns}
        self.db.execute("savepoint message")
        message_id = self._insert("message", **columns)
        for chat_id in chat_ids:
            self._insert("chat_message_join", chat_id=chat_id, message_id=message_id, message_date=columns["date"])
        self.db.execute("release message")
        return str(columns["guid"])

    def attach(self, guid: str, **columns: Any) -> None:
        """Attach a file to a message."""
        attachment_id = self._insert("attachment", **{"guid": f"at_0_{uuid4()}", **columns})
        self._insert("message_attachment_join", message_id=self.row_of(guid), attachment_id=attachment_id)

    def change(self, guid: str, **columns: Any) -> None:
        self.db.execute(f"update message set {', '.join(f'{name} = ?' for name in columns)} where guid = ?", [*columns.values(), guid])

    def row_of(self, guid: str) -> int:
        return int(self.db.execute("select ROWID from message where guid = ?", (guid,)).fetchone()[0])

    def _insert(self, table: str, **columns: Any) -> int:
        marks = ", ".join("?" * len(columns))
        cursor = self.db.execute(f"insert into {table} ({', '.join(columns)}) values ({marks})", list(columns.values()))
        return cursor.lastrowid or 0


class MadeChat:
    """A chat; `they` and `i` write in it as Messages does since macOS 13: the text is in `attributedBody` alone."""

    def __init__(self, made: MadeChatDb, chat_id: int, handle_id: int) -> None:
        self.made = made
        self.chat_id = chat_id
        self.handle_id = handle_id

    def they(self, said: str | None = None, /, **columns: Any) -> str:
        body = attributed_body(said) if said is not None else None
        return self.made.message(self.chat_id, **{"attributedBody": body, "handle_id": self.handle_id, **columns})

    def i(self, said: str | None = None, /, **columns: Any) -> str:
        return self.they(said, **{"is_from_me": 1, **columns})


def summary_info(*, sent: int, edited: dict[int, list[str]] | None = None, unsent: list[int] | None = None) -> bytes:
    """`message_summary_info` of a message with so many parts: all versions of the edited ones, and the numbers of the unsent ones."""
    versions = {
        str(number): [{"t": attributed_body(text), "d": 794_000_000.0 + place, "bcg": str(uuid4())} for place, text in enumerate(texts)]
        for number, texts in (edited or {}).items()
    }
    info: dict[str, Any] = {"otr": {str(number): {"lo": number, "le": 1} for number in range(sent)}, "ust": True, "amc": 1}
    if versions:
        info |= {"ec": versions, "ep": [int(number) for number in versions]}
    if unsent:
        info["rp"] = unsent
    return plistlib.dumps(info, fmt=plistlib.FMT_BINARY)
