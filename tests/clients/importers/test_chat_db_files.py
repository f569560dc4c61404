"""Databases as they come: of older versions, in use, copied, damaged, or not to be read."""

import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from assistant_client.importers.apple.chat_db import ChatDb
from assistant_client.importers.failures import UnreadableSource

from tests.clients.importers.gateway_destination import GatewayDestination
from tests.clients.importers.importing import imported, sent
from tests.clients.importers.made_chat_db import MadeChatDb

SAM = "+14155550100"
SAM_CHAT = f"iMessage;-;{SAM}"
OF_2012 = """
    create table handle (ROWID integer primary key autoincrement, id text not null, service text not null);
    create table chat (ROWID integer primary key autoincrement, guid text unique not null, style integer, chat_identifier text,
                       service_name text, display_name text);
    create table message (ROWID integer primary key autoincrement, guid text unique not null, text text, handle_id integer default 0,
                          attributedBody blob, date integer, is_from_me integer default 0, error integer default 0);
    create table chat_handle_join (chat_id integer, handle_id integer);
    create table chat_message_join (chat_id integer, message_id integer);
"""


def test_columns_and_tables_that_older_versions_lack_are_not_needed(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "chat.db")
    db.executescript(OF_2012)
    db.execute("insert into handle values (1, ?, 'iMessage')", [SAM])
    db.execute("insert into chat values (1, ?, 45, ?, 'iMessage', null)", [SAM_CHAT, SAM])
    db.execute("insert into chat_handle_join values (1, 1)")
    db.execute("insert into message values (1, 'G-1', 'hello from 2012', 1, null, 350000000, 0, 0)")
    db.execute("insert into chat_message_join values (1, 1)")
    db.commit()
    db.close()
    source = ChatDb(tmp_path / "chat.db")

    (item,) = [item for window in source.windows(0) for item in window.items]

    assert (item.message.text, item.message.sent_at.year) == ("hello from 2012", 2012)
    source.close()


def test_it_is_read_while_messages_writes_and_never_written(made: MadeChatDb) -> None:
    sam = made.direct_chat(SAM)
    sam.they("hello")
    made.db.execute("begin immediate")  # Messages is in the middle of something
    sam.they("not yet there")
    source = ChatDb(made.path)
    try:
        assert [item.message.text for window in source.windows(0) for item in window.items] == ["hello"]
        made.db.execute("commit")
        assert [item.message.text for window in source.windows(1) for item in window.items] == ["not yet there"]
        with pytest.raises(sqlite3.OperationalError):
            source._db.execute("delete from message")
    finally:
        source.close()


def test_a_copy_in_a_folder_that_may_not_be_written_is_read(made: MadeChatDb, tmp_path: Path) -> None:
    made.direct_chat(SAM).they("hello")
    made.close()
    folder = tmp_path / "backup"
    folder.mkdir()
    shutil.copy(made.path, folder / "chat.db")
    (folder / "chat.db").chmod(0o400)
    folder.chmod(0o500)

    source = ChatDb(folder / "chat.db")

    assert [item.message.text for window in source.windows(0) for item in window.items] == ["hello"]
    source.close()
    folder.chmod(0o700)


def test_damaged_pages_cost_the_rows_on_them_and_no_others(made: MadeChatDb) -> None:
    sam = made.direct_chat(SAM)
    made.db.execute("begin")
    for number in range(3_000):
        sam.they(f"message {number} " + "with some words " * 10)
    made.db.execute("commit")
    made.db.execute("pragma wal_checkpoint(truncate)")
    made.db.execute("pragma journal_mode = delete")
    made.close()
    data = bytearray(made.path.read_bytes())
    page = data.index(b"message 1500 ") // 4096
    data[page * 4096 : page * 4096 + 16] = b"\xff" * 16
    made.path.write_bytes(data)
    source = ChatDb(made.path)
    windows = list(source.windows(0))
    source.close()

    read = sum(len(window.items) for window in windows)
    damaged = [row for window in windows for row in window.left_out if row.is_damaged]

    assert 2_900 < read < 3_000
    assert read + len(damaged) == 3_000
    assert all(row.row.startswith("message ") for row in damaged)


def test_whichever_page_is_damaged_the_import_ends_and_names_what_it_lost(made: MadeChatDb) -> None:
    sam = made.direct_chat(SAM)
    made.db.execute("begin")
    for number in range(150):
        sam.they(f"message {number} " + "with some words " * 10)
    made.db.execute("commit")
    made.db.execute("pragma wal_checkpoint(truncate)")
    made.db.execute("pragma journal_mode = delete")
    made.close()
    whole = made.path.read_bytes()
    complete = 0
    for begin in range(0, len(whole), 4096):
        made.path.write_bytes(whole[:begin] + b"\xff" * 64 + whole[begin + 64 :])
        with suppress(UnreadableSource):
            summary = sent(ChatDb(made.path), None, None)
            assert summary.messages.read + summary.left_out.total() == 150
            assert summary.damaged.keys() == summary.left_out.keys()
            complete += 1

    assert complete > len(whole) / 4096 / 2


def test_who_may_not_read_it_is_told_of_full_disk_access(made: MadeChatDb) -> None:
    made.path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # the administrator may read everything
    try:
        with pytest.raises(UnreadableSource, match=r"Full Disk Access.*chat\.db-wal"):
            ChatDb(made.path)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is not there"), (b"hello", "no SQLite database"), (b"SQLite format 3\0" + b"\1" * 500, "cannot be read")],
)
def test_what_is_no_database_is_said_so(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "chat.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableSource, match=message):
        ChatDb(path)


def test_another_database_is_named_by_what_it_lacks(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "other.db")
    db.execute("create table photo (id integer)")
    db.close()
    with pytest.raises(UnreadableSource, match="no database of Messages: it lacks the table message"):
        ChatDb(tmp_path / "other.db")


def test_an_empty_database_gives_nothing(made: MadeChatDb, destination: GatewayDestination) -> None:
    assert imported(made, destination).messages.created == 0
