"""`assistant import` as people run it: with the client, its token and its retries."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from assistant_client import Client, FileStore
from assistant_client.importers.destination import Destination

from tests.clients.command_line import CommandLine
from tests.clients.importers.made_chat_db import MadeChatDb

SAM = "+14155550100"


@pytest.fixture
def user(client: Client, tmp_path: Path) -> CommandLine:
    """A user at the client's device."""
    FileStore(tmp_path / ".config" / "conversation-assistant" / "device.json").save(client.credentials)
    return CommandLine(tmp_path)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[MadeChatDb]:
    made = MadeChatDb(tmp_path / "chat.db")
    yield made
    made.close()


def test_contacts_and_messages_come_in_and_the_second_time_nothing(client: Client, user: CommandLine, made: MadeChatDb) -> None:
    (made.path.parent / "people.vcf").write_text("BEGIN:VCARD\nVERSION:3.0\nFN:Sam Doe\nTEL:+14155550100\nEND:VCARD\n")
    sam = made.direct_chat(SAM)
    sam.they("Dinner on Saturday?")
    sam.i("yes please")

    first = user.run("import", str(made.path), str(made.path.parent / "people.vcf"))
    second = user.run("import", str(made.path))

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "Contacts: 1 new" in first.stdout
    assert "Messages: 2 new, 0 changed, 0 unchanged" in first.stdout
    assert "Messages: 0 new, 0 changed, 0 unchanged" in second.stdout
    (thread,) = client.all_conversations()
    assert [message.text for message in client.all_messages(thread.id)] == ["yes please", "Dinner on Saturday?"]
    assert [person.display_name for person in thread.participants] == ["Sam Doe"]


def test_a_dry_run_needs_no_gateway(tmp_path: Path, made: MadeChatDb) -> None:
    made.direct_chat(SAM).they("hello")

    done = CommandLine(tmp_path).run("import", "--dry-run", str(made.path))

    assert done.returncode == 0, done.stderr
    assert "Messages: 1 would be sent" in done.stdout


def test_the_client_is_a_destination(client: Client) -> None:
    destination: Destination = client

    assert destination.sync_state().conversations == []
