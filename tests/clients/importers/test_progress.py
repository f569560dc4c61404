"""An import that is started again: it goes on where it was, and finds out when it may not."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest
from assistant_client.importers.apple import chat_db
from assistant_client.importers.apple.chat_db import ChatDb
from assistant_client.importers.progress import Progress, ProgressFile
from assistant_client.importers.sending import Sender
from assistant_client.importers.summary import Summary

from tests.clients.importers.gateway_destination import GatewayDestination
from tests.clients.importers.importing import imported
from tests.clients.importers.made_chat_db import START, MadeChatDb
from tests.factories import paired_device
from tests.fixtures.gateway import GatewayProcess

SAM = "+14155550100"
SAM_CHAT = f"iMessage;-;{SAM}"
MANY = 6_500
PROGRAM = """
import sys
from pathlib import Path
from uuid import UUID
from assistant_client.importers.apple.chat_db import ChatDb
from assistant_client.importers.progress import ProgressFile
from assistant_client.importers.sending import Sender
from tests.clients.importers.gateway_destination import GatewayDestination
from tests.factories import device_with

url, token, path, state = sys.argv[1:]
source = ChatDb(Path(path))
with GatewayDestination(device_with(url, token, "")) as destination:
    Sender(destination).run(source, ProgressFile(Path(state), source.key), told=lambda position: print(position, flush=True))
"""


def many(made: MadeChatDb, count: int = MANY) -> None:
    sam, kim = made.direct_chat(SAM), made.direct_chat("kim@example.com")
    made.db.execute("begin")
    for number in range(count):
        (kim if number % 7 == 0 else sam).they(f"message {number}")
    made.db.execute("commit")


def test_killed_in_the_middle_it_goes_on_with_nothing_twice_and_nothing_lost(
    made: MadeChatDb, gateway: GatewayProcess, tmp_path: Path
) -> None:
    many(made)
    device = paired_device(gateway.url)
    command = [sys.executable, "-c", PROGRAM, gateway.url, device.token, str(made.path), str(tmp_path / "state")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), "clients/python"])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == str(chat_db.WINDOW)
        process.send_signal(signal.SIGKILL)
    with GatewayDestination(device) as destination:
        summary = imported_with_state(made, destination, tmp_path / "state")

        counts = {each["imessageId"]: each["messageCount"] for each in destination.threads()}
        assert sum(counts.values()) == MANY
        assert counts["iMessage;-;kim@example.com"] == len(range(0, MANY, 7))
        assert 0 < summary.messages.created + summary.messages.unchanged <= MANY - chat_db.WINDOW


def imported_with_state(made: MadeChatDb, destination: GatewayDestination, folder: Path) -> Summary:
    source = ChatDb(made.path)
    sender = Sender(destination)
    sender.run(source, ProgressFile(folder, source.key))
    source.close()
    return sender.summary


def test_the_second_import_sends_only_what_came_since(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    sam.they("one")
    imported(made, destination, resumable=True)
    sam.they("two")
    sam.i("backfilled", date=0 + 794_000_000)  # older, with a new row number, in seconds

    summary = imported(made, destination, resumable=True)

    assert destination.batches == [1, 2]
    assert summary.messages.created == 2
    assert sorted(filter(None, destination.texts(SAM_CHAT))) == ["backfilled", "one", "two"]


def test_another_database_in_its_place_is_read_from_its_beginning(
    made: MadeChatDb, destination: GatewayDestination, tmp_path: Path
) -> None:
    """Row numbers begin again after a restore: those that were passed say nothing of the new rows."""
    sam = made.direct_chat(SAM)
    sam.they("one")
    guid = sam.they("two")
    imported(made, destination, resumable=True)
    made.close()
    for path in tmp_path.glob("chat.db*"):
        path.unlink()
    restored = MadeChatDb(made.path)
    sam = restored.direct_chat(SAM)
    sam.they("two", guid=guid, date=794_491_320_000_000_000)
    sam.they("three")
    sam.they("four")

    imported(restored, destination, resumable=True)

    restored.close()
    assert sorted(filter(None, destination.texts(SAM_CHAT))) == ["four", "one", "three", "two"]


def test_rows_that_were_deleted_do_not_begin_it_anew(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    guids = [sam.they(f"message {number}") for number in range(30)]
    imported(made, destination, resumable=True)
    made.db.execute("delete from message where guid = ?", [guids[-1]])
    sam.they("next")

    imported(made, destination, resumable=True)

    assert destination.batches == [30, 1]


def test_another_account_gets_everything(made: MadeChatDb, destination: GatewayDestination, gateway: GatewayProcess) -> None:
    made.direct_chat(SAM).they("one")
    imported(made, destination, resumable=True)

    with GatewayDestination(paired_device(gateway.url)) as other:
        summary = imported(made, other, resumable=True)

    assert summary.messages.created == 1


def test_what_an_import_with_since_left_out_comes_with_one_without(
    made: MadeChatDb, destination: GatewayDestination, tmp_path: Path
) -> None:
    sam = made.direct_chat(SAM)
    sam.they("old")
    sam.they("new")
    source = ChatDb(made.path)
    file = ProgressFile(tmp_path / "state", source.key)

    later = Sender(destination, since=START + timedelta(seconds=90))
    later.run(source, file)
    assert destination.texts(SAM_CHAT) == ["new"]
    assert later.summary.left_out == {"sent before --since": 1}
    Sender(destination).run(source, file)

    source.close()
    assert destination.texts(SAM_CHAT) == ["old", "new"]


def test_the_file_is_its_owners_alone_and_a_damaged_one_is_the_beginning(tmp_path: Path) -> None:
    file = ProgressFile(tmp_path / "state", "somewhere")
    file.write(Progress(position=7))
    assert (file.path.stat().st_mode & 0o777, file.read().position) == (0o600, 7)

    file.path.write_bytes(b"{")

    assert file.read().position == 0


def test_batches_stay_below_what_the_gateway_takes(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    for _ in range(20):
        sam.they("😀" * 99_000)  # 400 kB each as JSON
    for number in range(1_200):
        sam.they(f"short {number}")

    summary = imported(made, destination)

    assert summary.messages.created == 1_220
    assert max(destination.batches) <= 1_000
    assert len(destination.batches) >= 3


def test_a_row_that_is_still_being_written_is_read_again(made: MadeChatDb, destination: GatewayDestination) -> None:
    """Messages writes a row first, and which chat it is of a moment later."""
    sam = made.direct_chat(SAM)
    now = int((time.time() - 978_307_200) * 1e9)
    sam.they("one", date=now)
    unfinished = made.message(attributedBody=None, handle_id=sam.handle_id, date=now + 1_000_000)
    sam.they("three", date=now + 2_000_000)
    imported(made, destination, resumable=True)
    made.change(unfinished, text="two")
    made.db.execute("insert into chat_message_join values (?, ?, ?)", [sam.chat_id, made.row_of(unfinished), now + 1])

    imported(made, destination, resumable=True)

    assert destination.texts(SAM_CHAT) == ["one", "two", "three"]


def test_memory_is_that_of_a_window_however_long_the_history(made: MadeChatDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_db, "WINDOW", 200)
    sam = made.direct_chat(SAM)

    def peak(rows: int) -> int:
        """Bytes that an import holds at most after so many rows have come."""
        made.db.execute("begin")
        for _ in range(rows):
            sam.they("w" * 2_000)
        made.db.execute("commit")
        tracemalloc.start()
        imported(made, None)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    short = peak(400)

    assert peak(2_000) < 1.3 * short
