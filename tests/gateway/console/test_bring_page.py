"""Bringing in messages: an export becomes threads, and what to do with them next is one click away."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from tests.clients.importers.gateway_destination import GatewayDestination
from tests.clients.importers.importing import imported_file
from tests.clients.importers.test_telegram import account, chat, row
from tests.factories import Device, paired_device
from tests.fixtures.browser import assert_accessible, take_screenshots
from tests.fixtures.gateway import GatewayProcess
from tests.gateway.console import exports
from tests.gateway.console.conftest import OpenConsole
from tests.gateway.console.exports import KIM, LRM, ME, SAM, Export, telegram, text
from tests.gateway.console.test_hostile_texts import ALL_AT_ONCE, ATTACKS, expect_harmless
from tests.gateway.console.test_importers import CROWD, SAMS

NARROW_PHONE = 375


@pytest.fixture
def owner(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


def choose(page: Page, export: Export) -> None:
    file: Any = {"name": export.name, "mimeType": "", "buffer": export.content}
    page.get_by_label("Choose a file").set_input_files(file)


def threads_of(owner: Device) -> list[dict[str, Any]]:
    return list(owner.client.get("/api/conversations").json()["conversations"])


def messages_of(owner: Device, thread: dict[str, Any]) -> list[dict[str, Any]]:
    page = owner.client.get(f"/api/conversations/{thread['id']}/messages?pageSize=200").json()
    return list(reversed(page["messages"]))


def test_a_group_in_a_zip_asks_who_one_is_and_which_order_the_dates_have(owner: Device, open_console: OpenConsole) -> None:
    lines = [f"0{day}/0{day + 1}/24, 10:00 - {('Sam', 'Kim', 'Alex')[day % 3]}: message {day}" for day in range(1, 8)]
    content = "\n".join([*lines, "08/09/24, 10:00 - Kim: null", "08/09/24, 10:01 - Kim: a.jpg (file attached)"]).encode()
    page = open_console(owner, "bring", time_zone=exports.ZONE)
    expect(page.get_by_role("heading", name="Bring in messages", level=1)).to_be_visible()
    expect(page.get_by_role("button", name="Try it with an example")).to_be_visible()
    take_screenshots(page, "bring-choose")
    for messenger in ("WhatsApp", "Telegram", "iMessage"):
        page.get_by_text(messenger, exact=True).click()
    expect(page.get_by_text("assistant import ~/Library/Messages/chat.db")).to_be_visible()
    page.set_viewport_size({"width": NARROW_PHONE, "height": 667})
    assert page.evaluate("document.querySelector('main').scrollWidth") <= NARROW_PHONE
    take_screenshots(page, "bring-how")
    assert_accessible(page)

    choose(page, exports.zipped("WhatsApp Chat - Climbing.zip", {"_chat.txt": content, "a.jpg": b"12345"}))

    expect(page.get_by_role("heading", name="Which comes first, the day or the month?")).to_be_focused()
    expect(page.get_by_text("What does 08/09/24 mean?")).to_be_visible()
    take_screenshots(page, "bring-order")
    assert_accessible(page)
    page.get_by_label("8 September 2024").check()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Which one is you?")).to_be_focused()
    take_screenshots(page, "bring-owner")
    assert_accessible(page)
    page.get_by_label("Alex").check()
    page.get_by_role("button", name="Continue").click()

    expect(page.get_by_role("heading", name="A chat export of WhatsApp")).to_be_focused()
    expect(page.get_by_text("1 Feb 2024 to 8 Sept 2024")).to_be_visible()
    expect(page.get_by_text("with nothing in them, such as photos to be seen once")).to_be_visible()
    take_screenshots(page, "bring-found")
    assert_accessible(page)
    page.get_by_role("button", name="Import 8 messages").click()

    expect(page.get_by_role("heading", name="Your messages are in")).to_be_focused()
    expect(page.get_by_text("8 messages are new")).to_be_visible()
    take_screenshots(page, "bring-done")
    assert_accessible(page)
    (group,) = threads_of(owner)
    assert (group["displayName"], group["isGroup"], group["messageCount"]) == ("Climbing", True, 8)
    mine = [each["text"] for each in messages_of(owner, group) if each["direction"] == "outgoing"]
    assert mine == ["message 2", "message 5"]


def test_a_whole_account_of_telegram(owner: Device, open_console: OpenConsole) -> None:
    export = account(
        chat(row(1, SAM, "hi"), row(2, ME, "hello")),
        chat(row(3, KIM, "climbing?"), row(4, ME, "yes"), kind="private_supergroup", number=99, name="Climbing"),
        chat(row(5, ME, "remember"), kind="saved_messages", number=22),
        chat(row(6, SAM, "beep"), kind="bot_chat", number=55),
    )
    page = open_console(owner, "bring")

    choose(page, telegram(export))

    expect(page.get_by_role("heading", name="A chat export of Telegram")).to_be_visible()
    for words in ("Sam Doe, Climbing", "Sam Doe, Kim", "Alex", "1 notes to yourself", "1 from chats with programs"):
        expect(page.get_by_text(words, exact=words == "Alex")).to_be_visible()
    page.get_by_role("button", name="Import 4 messages").click()
    expect(page.get_by_text("4 messages are new")).to_be_visible()
    assert sorted(each["displayName"] for each in threads_of(owner)) == ["Climbing", "Sam Doe"]
    names = {each["senderName"] for thread in threads_of(owner) for each in messages_of(owner, thread) if each["direction"] == "incoming"}
    assert names == {"Sam Doe", "Kim"}


def test_what_comes_by_the_command_and_by_the_page_is_there_once(
    owner: Device, gateway: GatewayProcess, open_console: OpenConsole, tmp_path: Path
) -> None:
    lines = [*CROWD[:50], f"[31.12.23, 22:00:00] Sam: {LRM}<attached: a.jpg>"]
    export = exports.zipped("WhatsApp Chat - Climbing.zip", {"_chat.txt": "\r\n".join(lines).encode(), "a.jpg": b"1"}, owner="Alex")
    (tmp_path / export.name).write_bytes(export.content)
    with GatewayDestination(owner) as destination:
        imported_file(tmp_path / export.name, destination, owner="Alex", time_zone=ZoneInfo(exports.ZONE))
    page = open_console(owner, "bring", time_zone=exports.ZONE)

    choose(page, export)
    page.get_by_label("Alex").check()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Import 51 messages").click()

    expect(page.get_by_text("0 messages are new")).to_be_visible()
    expect(page.get_by_text("51 were here already")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"Dear diary,\n", "no export that is known here"),
        ("a.zip", b"PK\x03\x04 and no more", "damaged or was cut off"),
        ("b.txt", b"", "file is empty"),
        ("result.json", b'{"about": "x", "chats": {"list": [', "was cut off, or changed"),
        ("chat.db", b"SQLite format 3\0" + bytes(100), "assistant import chat.db"),
        ("WhatsApp Chat with Sam.txt", b"99.99.23, 21:41 - Sam: a\n", "no line begins with a date"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_and_what_to_do(
    owner: Device, open_console: OpenConsole, name: str, content: bytes, words: str
) -> None:
    page = open_console(owner, "bring")

    choose(page, Export(name=name, content=content))

    expect(page.get_by_role("heading", name=f"{name} cannot be read")).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text(words)
    assert_accessible(page)
    take_screenshots(page, f"bring-unreadable-{name.replace('.', '-')}")
    page.get_by_role("button", name="Choose another file").click()
    expect(page.get_by_text("Drop an export here")).to_be_visible()


def test_damaged_lines_are_named_and_the_others_come_in(owner: Device, open_console: OpenConsole) -> None:
    page = open_console(owner, "bring")

    choose(page, Export(name=SAMS, content=b"31.12.23, 21:41 - Sam: a\n31.12.23, 21:42 - Sam: \xff\n31.12.23, 21:43 - Alex: b\n"))

    expect(page.get_by_text("1 with letters that are not readable")).to_be_visible()
    expect(page.get_by_text("Not readable: line 2.")).to_be_visible()
    take_screenshots(page, "bring-damaged")
    page.get_by_role("button", name="Import 2 messages").click()
    expect(page.get_by_text("2 messages are new")).to_be_visible()


def test_names_and_texts_of_files_are_texts(owner: Device, open_console: OpenConsole) -> None:
    people = [text for text in ATTACKS if '"' not in text]
    lines = [f"31.12.23, 21:4{number} - {name}: {ALL_AT_ONCE}" for number, name in enumerate(people)]
    page = open_console(owner, "bring")

    choose(page, text(*lines, name="WhatsApp Chat with <img src=x onerror=alert(0)>.txt"))

    for name in people:
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    page.get_by_label(people[0]).check()
    expect_harmless(page)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("<img src=x onerror=alert(0)>").first).to_be_visible()
    page.get_by_role("button", name=f"Import {len(people)} messages").click()
    expect(page.get_by_text("messages are new")).to_be_visible()
    page.get_by_role("link", name="See your threads").click()
    page.locator(".thread-row").first.click()
    expect(page.get_by_text(ALL_AT_ONCE).last).to_be_attached()
    expect_harmless(page)


def test_it_goes_with_the_keyboard_alone_on_a_phone(owner: Device, open_console: OpenConsole) -> None:
    page = open_console(owner)
    page.on("filechooser", lambda _chooser: None)  # well before: the browser is told of it beside what is typed
    page.set_viewport_size({"width": NARROW_PHONE, "height": 667})
    page.keyboard.press("g")
    page.keyboard.press("b")
    expect(page.get_by_role("heading", name="Bring in messages", level=1)).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "file"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")

    file: Any = {
        "name": "_chat.txt",
        "mimeType": "",
        "buffer": "\n".join(["31.12.23, 21:41 - Sam: a", "31.12.23, 21:42 - Alex: b"]).encode(),
    }
    chooser.value.set_files(file)

    expect(page.get_by_role("heading", name="Which one is you?")).to_be_focused()
    for key in ("Tab", "ArrowDown", "Tab", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_role("heading", name="A chat export of WhatsApp")).to_be_focused()
    assert page.evaluate("document.querySelector('main').scrollWidth") <= NARROW_PHONE
    for key in ("Tab", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_role("heading", name="Your messages are in")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_role("dialog", name="Import past replies")).to_be_visible()
    assert page.evaluate("location.hash") == "#/samples"


def test_a_dropped_file_is_read_too(owner: Device, open_console: OpenConsole) -> None:
    page = open_console(owner, "bring")
    expect(page.get_by_text("Drop an export here")).to_be_visible()

    page.evaluate("""() => {
        const files = new DataTransfer();
        files.items.add(new File(["31.12.23, 21:41 - Sam: a"], "WhatsApp Chat with Sam.txt"));
        document.querySelector(".drop").dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
    }""")

    expect(page.get_by_role("button", name="Import 1 message")).to_be_visible()
