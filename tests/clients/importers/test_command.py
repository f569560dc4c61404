"""`assistant import`: its arguments, its lines, its exit code."""

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from assistant_client.importers import command
from assistant_client.importers.apple import chat_db
from assistant_client.importers.command import add_arguments, run

from tests.clients.importers.gateway_destination import GatewayDestination
from tests.clients.importers.made_chat_db import MadeChatDb
from tests.factories import paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually

SAM = "+14155550100"
SAM_CHAT = f"iMessage;-;{SAM}"


PROGRAM = """
import argparse, sys
from assistant_client.importers.command import add_arguments, run
from tests.clients.importers.gateway_destination import GatewayDestination
from tests.factories import device_with

url, token, *arguments = sys.argv[1:]
parser = argparse.ArgumentParser()
add_arguments(parser)
with GatewayDestination(device_with(url, token, "")) as destination:
    sys.exit(run(parser.parse_args(arguments), destination))
"""


def ran(destination: GatewayDestination, folder: Path, *arguments: object) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([*map(str, arguments), "--state-folder", str(folder / "state")]), destination)


def test_several_sources_are_recognised_and_contacts_come_first(
    made: MadeChatDb, destination: GatewayDestination, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sam = made.direct_chat(SAM)
    sam.they("a secret of Sam's")
    sam.they(attributedBody=b"damaged")
    (tmp_path / "contacts.vcf").write_text("BEGIN:VCARD\nVERSION:3.0\nFN:Sam Doe\nTEL:(415) 555-0100\nEND:VCARD\n")
    (tmp_path / "WhatsApp Chat with Kim.txt").write_text("31.12.23, 21:41 - Kim: another secret\n31.12.23, 21:42 - Alex: yes\n")

    code = ran(destination, tmp_path, made.path, tmp_path / "WhatsApp Chat with Kim.txt", tmp_path / "contacts.vcf", "--region", "us")

    printed = capsys.readouterr().out
    assert code == 0
    assert destination.messages(SAM_CHAT)[0]["senderName"] == "Sam Doe"
    assert printed.splitlines() == [
        "Importing contacts.vcf",
        "Importing chat.db: 2 rows",
        "Importing WhatsApp Chat with Kim.txt: 2 rows",
        "Contacts: 1 new, 0 changed, 0 unchanged",
        "Messages: 3 new, 0 changed, 0 unchanged",
        "  WhatsApp;-;Kim: 2 new, 0 changed, 0 unchanged",
        f"  {SAM_CHAT}: 1 new, 0 changed, 0 unchanged",
        "Left out: 1",
        "  1 of: cannot be read (TypedStreamError)",
        "    message 2",
    ]
    assert "secret" not in printed


def test_a_dry_run_sends_nothing_and_remembers_nothing(
    made: MadeChatDb, destination: GatewayDestination, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.direct_chat(SAM).they("hello")

    assert ran(destination, tmp_path, made.path, "--dry-run") == 0

    assert "Messages: 1 would be sent" in capsys.readouterr().out
    assert destination.threads() == []
    assert not (tmp_path / "state").exists()


def test_again_sends_what_was_sent(made: MadeChatDb, destination: GatewayDestination, tmp_path: Path) -> None:
    made.direct_chat(SAM).they("hello")
    for arguments in ([], [], ["--again"]):
        assert ran(destination, tmp_path, made.path, *arguments) == 0

    assert destination.batches == [1, 1]


def test_a_source_that_cannot_be_read_does_not_stop_the_others(
    made: MadeChatDb, destination: GatewayDestination, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.direct_chat(SAM).they("hello")
    (tmp_path / "diary.txt").write_text("Dear diary")
    sqlite3.connect(tmp_path / "photos.db").execute("create table photo (id)").connection.close()

    code = ran(destination, tmp_path, tmp_path / "diary.txt", tmp_path / "photos.db", tmp_path / "missing", made.path)

    printed = capsys.readouterr().err
    assert code == 1
    assert "diary.txt is of no kind that is known" in printed
    assert "photos.db is no database of Messages" in printed
    assert "missing is not there" in printed
    assert destination.texts(SAM_CHAT) == ["hello"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--since", "lately"], "2024-01-31"),
        (["--region", "USA"], "two letters"),
        (["--time-zone", "Mars/Base"], "Europe/Berlin"),
        ([], "SOURCE"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    destination: GatewayDestination, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        ran(destination, tmp_path, *arguments, *(["x"] if arguments else []))

    assert message in capsys.readouterr().err


def test_since_leaves_out_what_is_older(made: MadeChatDb, destination: GatewayDestination, tmp_path: Path) -> None:
    sam = made.direct_chat(SAM)
    sam.they("old", date=700_000_000)
    sam.they("new")

    assert ran(destination, tmp_path, made.path, "--since", "2025-01-01") == 0

    assert destination.texts(SAM_CHAT) == ["new"]


def test_without_a_terminal_a_line_says_now_and_then_how_far_it_is(
    made: MadeChatDb, destination: GatewayDestination, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_db, "WINDOW", 2)
    monkeypatch.setattr(command, "_SECONDS_BETWEEN_LINES", 0.0)
    sam = made.direct_chat(SAM)
    for number in range(3):
        sam.they(f"message {number}")

    assert ran(destination, tmp_path, made.path) == 0

    assert capsys.readouterr().out.splitlines()[:3] == ["Importing chat.db: 3 rows", "  2 of 3", "  3 of 3"]


def test_on_a_terminal_there_is_a_bar_and_then_the_summary(made: MadeChatDb, gateway: GatewayProcess, tmp_path: Path) -> None:
    made.direct_chat(SAM).they("a secret")
    controller, terminal = os.openpty()
    arguments = [gateway.url, paired_device(gateway.url).token, str(made.path), "--state-folder", str(tmp_path / "state")]

    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], stdout=terminal, env=environment(), check=False)

    os.close(terminal)
    with suppress(OSError), os.fdopen(controller, "rb") as screen:
        printed = screen.read1(65_536).decode()
    assert done.returncode == 0
    assert "1/1" in printed
    assert "Messages: 1 new, 0 changed, 0 unchanged" in printed
    assert "secret" not in printed


def environment() -> dict[str, str]:
    """Of a process that has the tests' modules, and a terminal."""
    paths = [*filter(None, sys.path), str(Path("clients/python").resolve()), str(Path.cwd())]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TERM": "xterm"}


@pytest.mark.usefixtures("interruptible")
def test_following_ends_with_ctrl_c_and_a_summary(made: MadeChatDb, gateway: GatewayProcess, tmp_path: Path) -> None:
    sam = made.direct_chat(SAM)
    sam.they("hello")
    device = paired_device(gateway.url)
    arguments = [
        sys.executable,
        "-c",
        PROGRAM,
        gateway.url,
        device.token,
        str(made.path),
        "--follow",
        "--state-folder",
        str(tmp_path / "state"),
    ]
    with (
        subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment(), text=True) as process,
        GatewayDestination(device) as destination,
    ):
        try:
            eventually(lambda: destination.threads() != [] and destination.texts(SAM_CHAT) == ["hello"])
            sam.they("again")
            eventually(lambda: destination.texts(SAM_CHAT) == ["hello", "again"])
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()

    assert process.returncode == 0
    assert "Messages: 2 new, 0 changed, 0 unchanged" in printed


def test_only_one_chat_db_can_be_followed(made: MadeChatDb, destination: GatewayDestination, tmp_path: Path) -> None:
    (tmp_path / "contacts.vcf").write_text("BEGIN:VCARD\nFN:Sam\nTEL:+14155550100\nEND:VCARD\n")

    assert ran(destination, tmp_path, tmp_path / "contacts.vcf", "--follow") == 2
