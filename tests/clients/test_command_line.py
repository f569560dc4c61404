"""`assistant` on the command line."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest
from assistant_client import Client, FileStore
from assistant_client.models import ContactCard, Message

from tests.clients.command_line import CommandLine
from tests.clients.threads import thread
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port

NOT_PAIRED, AWAY = 3, 4


@pytest.fixture
def nobody(tmp_path: Path) -> CommandLine:
    """A user whose machine is not paired."""
    return CommandLine(tmp_path)


@pytest.fixture
def user(nobody: CommandLine, client: Client) -> CommandLine:
    """A user whose machine is the client's device."""
    FileStore(nobody.home / ".config" / "conversation-assistant" / "device.json").save(client.credentials)
    return nobody


def test_a_machine_is_paired_once(nobody: CommandLine, drafting_gateway: GatewayProcess) -> None:
    paired = nobody.good("pair", "--url", drafting_gateway.url, "--name", "Laptop")
    again = nobody.run("pair", "--url", drafting_gateway.url)

    assert drafting_gateway.url in paired
    assert (again.returncode, "--again" in again.stderr) == (1, True)
    [line] = nobody.good("devices").splitlines()
    assert line.startswith("Laptop (this one)\tlinux\tactive\t")


def test_a_pairing_with_another_gateway_is_not_lost_by_mistake(user: CommandLine, client: Client, drafting_gateway: GatewayProcess) -> None:
    other = f"http://localhost:{drafting_gateway.port}"
    refused = user.run("pair", "--url", other)

    assert (refused.returncode, client.url in refused.stderr) == (1, True)
    assert user.good("devices") != ""
    user.good("pair", "--url", other, "--again")
    assert user.run("devices", "--url", client.url).returncode == NOT_PAIRED


def test_a_second_machine_is_paired_with_the_code_of_the_first(user: CommandLine, client: Client, tmp_path: Path) -> None:
    shown = user.good("devices", "--add", "Phone", "--platform", "android").split()
    device, code = shown[shown.index("device") + 1], shown[shown.index("code") + 1]
    other = CommandLine(tmp_path / "other")
    other.good("pair", "--url", client.url, "--device", device, "--code", code)

    assert [json.loads(line)["name"] for line in other.good("devices", "--json").splitlines()] == ["Test", "Phone"]
    assert "is shut out" in user.good("devices", "--deactivate", device)
    refused = other.run("threads")
    assert (refused.returncode, "pair it again" in refused.stderr) == (1, True)


def test_who_is_not_paired_is_told_how(nobody: CommandLine) -> None:
    done = nobody.run("threads")

    assert (done.returncode, done.stdout) == (NOT_PAIRED, "")
    assert "assistant pair" in done.stderr


def test_a_gateway_that_is_away_is_named_and_how_to_start_it(nobody: CommandLine) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = nobody.run("pair", "--url", url)

    assert done.returncode == AWAY
    assert url in done.stderr
    assert "make run" in done.stderr


def test_threads_are_listed_and_found(user: CommandLine, client: Client) -> None:
    lake = client.sync_messages(thread("What time?", name="Lake House"))
    client.sync_messages(thread("Hello", name="Alex"))

    assert {line.split("\t")[0] for line in user.good("threads").splitlines()} == {"Lake House", "Alex"}
    [line] = user.good("threads", "lake").splitlines()
    assert str(lake.conversation_id) in line
    assert json.loads(user.good("threads", "lake", "--json"))["displayName"] == "Lake House"
    nothing = user.run("threads", "Nobody")
    assert (nothing.returncode, nothing.stdout, nothing.stderr != "") == (0, "", True)


def test_an_id_is_whole_on_a_narrow_terminal(user: CommandLine, client: Client) -> None:
    synced = client.sync_messages(thread("What time? " * 20, name="A rather long name of a thread"))
    user.environment["COLUMNS"] = "80"

    with user.on_terminal("threads") as terminal:
        terminal.end()

    assert str(synced.conversation_id) in terminal.seen


def test_a_draft_is_written_for_the_last_incoming_message_and_edited(user: CommandLine, client: Client) -> None:
    client.sync_contacts([ContactCard(email="sam@example.com", display_name="Sam Lake")])
    client.sync_messages(thread("Shall we?", "yes", "What time?", "let me look"))
    done = user.run("draft", "sam lake", "--edit", "ten is perfect")

    [sample] = client.samples().samples
    assert done.returncode == 0
    assert done.stdout.strip() == sample.rejected_output
    assert "Sam Lake: What time?" in done.stderr
    assert (sample.input, sample.output) == ("What time?", "ten is perfect")


def test_without_a_terminal_nothing_is_asked(user: CommandLine, client: Client, asked: Message) -> None:
    plain = user.run("draft", "Sam")
    answer = json.loads(user.good("draft", "Sam", "--json", "--reject"))

    assert plain.returncode == 0
    assert "--accept" in plain.stderr
    assert plain.stdout.strip() == answer["draft"]["response"]
    assert answer["action"]["action"] == "reject"


def test_a_thread_that_is_not_there_or_not_the_only_one_is_told(user: CommandLine, client: Client) -> None:
    client.sync_messages(thread("Hello", name="Sam Lake"))
    client.sync_messages(thread("Hello", name="Sam Hill"))

    several, none = user.run("draft", "Sam"), user.run("draft", "Alex")

    assert (several.returncode, none.returncode) == (1, 1)
    assert "Sam Lake" in several.stderr
    assert "Sam Hill" in several.stderr
    assert "assistant threads" in none.stderr


@pytest.mark.parametrize(
    ("keys", "source", "output"), [("a\n", "accept", None), ("e\n!\n", "edit", "!"), ("r\nnot me\n", "reject", None), ("\n", None, None)]
)
def test_on_a_terminal_one_is_asked(user: CommandLine, client: Client, asked: Message, keys: str, source: str, output: str | None) -> None:
    with user.on_terminal("draft", "Sam") as terminal:
        terminal.wait_for("[a]ccept")
        terminal.type(keys)
        assert terminal.end() == 0

    [draft] = client.drafts().responses
    assert draft.action == source
    if output is not None:
        assert draft.edited_response == f"{draft.response}{output}"  # the draft was there to be changed


def test_what_strangers_write_does_not_command_the_terminal(user: CommandLine, client: Client) -> None:
    client.sync_messages(thread("\x1b[2J[bold]gone\u202e", name="\x1b]0;title\x07Mallory"))

    with user.on_terminal("draft", "Mallory", "--accept") as terminal:
        terminal.end()

    assert "\x1b[2J" not in terminal.seen
    assert "[bold]gone" in terminal.seen
    assert "\x1b]0;" not in user.good("threads")


def test_events_are_shown_as_they_come(user: CommandLine, client: Client) -> None:
    client.sync_messages(thread("Hello", "Hi"))
    plain = user.good("watch", "--after", "0", "--count", "1")
    event = json.loads(user.good("watch", "--after", "0", "--count", "1", "--json"))

    assert "sync:completed" in plain
    assert "2 new, 0 changed messages" in plain
    assert (event["type"], event["data"]["created"]) == ("sync:completed", 2)


def test_watching_ends_when_the_device_is_shut_out(user: CommandLine, client: Client) -> None:
    watching = user.start("watch", "--after", "0")
    assert watching.stdout is not None
    client.sync_messages(thread("Hello"))
    assert "sync:completed" in watching.stdout.readline()
    client.deactivate_device(client.credentials.device_id)

    output, errors = watching.communicate()

    assert "device:deactivated" in output or output == ""
    assert watching.returncode == 1
    assert "pair it again" in errors


def test_everything_is_exported(user: CommandLine, client: Client, tmp_path: Path) -> None:
    client.sync_messages(thread("Hello"))
    file = tmp_path / "export.zip"
    user.good("export", str(file))

    assert zipfile.is_zipfile(file)
    again = user.run("export", str(file))
    assert (again.returncode, "--overwrite" in again.stderr) == (1, True)


def test_whoever_reads_may_stop_reading(user: CommandLine, client: Client) -> None:
    for number in range(30):
        client.sync_messages(thread("Hello", name=f"Thread {number}"))
    listing = user.start("threads", "--limit", "1000")
    assert listing.stdout is not None
    listing.stdout.close()

    assert listing.wait() == 0
    assert listing.stderr is not None
    assert listing.stderr.read() == ""
    listing.stderr.close()


@pytest.mark.parametrize("arguments", [[], ["--help"], ["draft", "--help"], ["nothing"], ["draft", "Sam", "--accept", "--reject"]])
def test_arguments_that_make_no_sense_are_explained(nobody: CommandLine, arguments: list[str]) -> None:
    done: subprocess.CompletedProcess[str] = nobody.run(*arguments)

    assert done.returncode == (0 if "--help" in arguments else 2)
    assert "usage: assistant" in done.stdout + done.stderr
