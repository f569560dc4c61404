"""The main story in a browser: begin, see messages come in, draft, and take, change or refuse what was drafted. Mostly by keyboard."""

import pytest
from playwright.sync_api import Page, expect

from tests.factories import Device
from tests.fixtures.browser import Chromium
from tests.fixtures.queue_system import QueueSystem
from tests.fixtures.waiting import eventually
from tests.gateway.console.visits import ANNA, device_of, drafts_of, expect_live, incoming, open_thread, outgoing, visited, with_anna


@pytest.fixture
def page(chromium: Chromium, queue_system: QueueSystem) -> Page:
    return visited(chromium, queue_system.url)


@pytest.fixture
def device(page: Page, queue_system: QueueSystem) -> Device:
    device = device_of(page, queue_system.url)
    contacts = [{"displayName": "Anna", "phoneNumber": ANNA}]
    device.client.post("/api/sync/contacts", json={"contacts": contacts}).raise_for_status()
    return device


def samples_of(device: Device) -> list[tuple[str, str | None, str | None]]:
    samples = device.client.get("/api/training/samples").json()["samples"]
    return [(sample["source"], sample["output"], sample["rejectedOutput"]) for sample in samples]


def grown_texts(page: Page, count: int) -> set[str]:
    """So many different texts of a draft that is being written."""
    seen = {draft_text(page)}

    def enough() -> bool:
        seen.add(draft_text(page))
        return len(seen) >= count

    eventually(enough)
    return seen


def draft_text(page: Page) -> str:
    return page.locator(".candidate-text").first.inner_text().strip()


def test_from_an_empty_account_to_an_accepted_draft(page: Page, device: Device, queue_system: QueueSystem) -> None:
    expect(page.get_by_text("No threads yet")).to_be_visible()

    with_anna(device, incoming("Dinner on Saturday?"))

    expect(page.get_by_role("link", name="Anna")).to_contain_text("Dinner on Saturday?")
    page.get_by_role("link", name="Anna").press("Enter")
    expect(page.get_by_role("heading", name="Anna", exact=True)).to_be_focused()
    with queue_system.ml.paced(0.15):
        page.keyboard.press("d")
        expect(page.get_by_text("Writing…")).to_be_visible()
        seen = grown_texts(page, 4)
    expect(page.get_by_role("button", name="Accept")).to_be_visible()
    shorter, longer, *_ = sorted(seen - {""}, key=len)
    assert longer.startswith(shorter)

    page.keyboard.press("a")

    expect(page.get_by_text("Accepted and copied")).to_be_visible()
    (draft,) = drafts_of(device)
    assert (draft["action"], draft["response"].strip()) == ("accept", draft_text(page))
    assert page.evaluate("navigator.clipboard.readText()") == draft["response"]
    assert [source for source, _, _ in samples_of(device)] == ["accept"]


def test_an_edited_draft_teaches_both_halves(page: Page, device: Device) -> None:
    with_anna(device, incoming("Dinner on Saturday?"))
    open_thread(page)
    page.keyboard.press("d")
    expect(page.get_by_role("button", name="Accept")).to_be_visible()
    drafted = draft_text(page)

    page.keyboard.press("e")
    field = page.get_by_label("Your reply")
    expect(field).to_be_focused()
    assert field.input_value() == drafted
    field.fill("sure! seven?")
    field.press("Control+Enter")

    expect(page.get_by_text("Saved and copied")).to_be_visible()
    ((source, output, rejected),) = samples_of(device)
    assert (source, output) == ("edit", "sure! seven?")
    assert rejected is not None
    assert rejected.strip() == drafted


def test_escape_leaves_an_edit_and_the_draft_stays(page: Page, device: Device) -> None:
    with_anna(device, incoming("Dinner on Saturday?"))
    open_thread(page)
    page.keyboard.press("d")
    expect(page.get_by_role("button", name="Accept")).to_be_visible()
    drafted = draft_text(page)

    page.keyboard.press("e")
    page.get_by_label("Your reply").fill("something else")
    page.keyboard.press("Escape")

    expect(page.get_by_role("button", name="Accept")).to_be_visible()
    assert draft_text(page) == drafted
    assert drafts_of(device)[0]["action"] is None


def test_a_draft_is_rejected_with_a_reason(page: Page, device: Device) -> None:
    with_anna(device, incoming("Dinner on Saturday?"))
    open_thread(page)
    page.keyboard.press("d")
    expect(page.get_by_role("button", name="Accept")).to_be_visible()

    page.keyboard.press("r")
    page.keyboard.type("too formal")
    page.keyboard.press("Enter")

    expect(page.get_by_text("learns not to write this")).to_be_visible()
    (draft,) = drafts_of(device)
    assert (draft["action"], draft["rejectionReason"]) == ("reject", "too formal")


def test_escape_stops_what_is_being_written(page: Page, device: Device, queue_system: QueueSystem) -> None:
    with_anna(device, incoming("Dinner on Saturday?"))
    open_thread(page)
    with queue_system.ml.paced(0.5):
        page.keyboard.press("d")
        expect(page.locator(".candidate-text").first).not_to_be_empty()
        page.keyboard.press("Escape")
        expect(page.get_by_text("Stopped. Nothing was kept.")).to_be_visible()
        eventually(lambda: drafts_of(device)[0]["status"] == "cancelled")


def test_one_of_several_drafts_is_chosen_by_its_number(page: Page, device: Device) -> None:
    with_anna(device, incoming("Dinner on Saturday?"))
    open_thread(page)
    page.get_by_role("group", name="Drafts at once").get_by_role("button", name="3").click()
    page.get_by_role("button", name="Draft a reply", exact=True).click()
    expect(page.locator("button.candidate")).to_have_count(3)

    page.keyboard.press("2")
    expect(page.locator("button.candidate").nth(1)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("a")

    expect(page.get_by_text("Accepted and copied")).to_be_visible()
    (draft,) = drafts_of(device)
    ((_, output, _),) = samples_of(device)
    assert output == draft["candidates"][1]["text"]


def test_an_earlier_message_is_answered_where_it_is_chosen(page: Page, device: Device) -> None:
    with_anna(device, incoming("First question?", 30), outgoing("wait", 20), incoming("Second question?", 10))
    open_thread(page)

    page.keyboard.press("k")
    page.keyboard.press("k")
    page.keyboard.press("d")

    expect(page.get_by_text("Reply to Anna: First question?")).to_be_visible()
    expect(page.get_by_role("button", name="Accept")).to_be_visible()


def test_a_queued_draft_is_there_after_leaving_and_coming_back(page: Page, device: Device, queue_system: QueueSystem) -> None:
    with_anna(device, incoming("Dinner on Saturday?"))
    open_thread(page)
    with queue_system.without_workers():
        page.get_by_role("button", name="Queue it").click()
        expect(page.get_by_text("Queued. You may leave")).to_be_visible()
        page.keyboard.press("g")
        page.keyboard.press("d")
        expect(page.get_by_role("heading", name="Drafts")).to_be_focused()
        expect(page.locator(".draft-row")).to_contain_text("Queued")

    expect(page.locator(".draft-row")).to_contain_text("Written")
    page.locator(".draft-row a").click()
    expect(page.get_by_role("button", name="Accept")).to_be_visible()
    page.keyboard.press("a")
    expect(page.get_by_text("Accepted and copied")).to_be_visible()


def test_a_queued_draft_is_stopped_from_the_list(page: Page, device: Device, queue_system: QueueSystem) -> None:
    with_anna(device, incoming("Dinner on Saturday?"))
    open_thread(page)
    with queue_system.without_workers():
        page.get_by_role("button", name="Queue it").click()
        expect(page.get_by_text("Queued. You may leave")).to_be_visible()
        page.get_by_role("link", name="Drafts").first.click()
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.locator(".draft-row")).to_contain_text("Stopped")
    assert drafts_of(device)[0]["status"] == "cancelled"


def test_a_draft_that_another_tab_is_writing_is_seen_to_grow(page: Page, device: Device, queue_system: QueueSystem) -> None:
    with_anna(device, incoming("Dinner on Saturday?"))
    other = page.context.new_page()
    other.goto(f"{queue_system.url}/#/drafts")
    expect_live(other)
    expect(other.get_by_text("No drafts yet")).to_be_visible()
    open_thread(page)
    with queue_system.ml.paced(0.3):
        page.keyboard.press("d")
        expect(other.locator(".draft-row")).to_contain_text("Writing")
        expect(other.locator(".draft-row-text")).to_contain_text("Sounds")
    expect(other.locator(".draft-row")).to_contain_text("Written")


def test_a_search_finds_names_and_what_was_said(page: Page, device: Device) -> None:
    many = [incoming(f"filler {number}", 200 - number) for number in range(120)]
    with_anna(device, incoming("the password of the boat house is under the mat", 300), *many)
    page.keyboard.press("/")
    page.keyboard.type("boat house")
    hit = page.get_by_role("link", name="boat house")
    expect(hit).to_be_visible()

    hit.click()

    found = page.locator("[data-chosen=true]")
    expect(found).to_contain_text("under the mat")
    expect(found).to_be_in_viewport()
    page.keyboard.press("/")
    page.get_by_label("Search names and messages").fill("Ann")
    expect(page.get_by_role("heading", name="Threads", exact=True, level=2)).to_be_visible()
    page.get_by_label("Search names and messages").fill("zeppelin")
    expect(page.get_by_text("Nothing found for “zeppelin”")).to_be_visible()


def test_old_messages_come_in_as_one_scrolls_up(page: Page, device: Device) -> None:
    with_anna(device, *[incoming(f"message number {number}", 500 - number) for number in range(230)])
    latest = page.locator(".message", has_text="message number 229")
    open_thread(page)
    expect(latest).to_be_in_viewport()
    expect(page.get_by_text("message number 100", exact=True)).to_have_count(0)

    for _ in range(40):
        page.get_by_role("region", name="Messages").evaluate("(box) => (box.scrollTop = 0)")
        page.wait_for_timeout(50)
        if page.get_by_text("This is where the thread begins").is_visible():
            break

    expect(page.get_by_text("message number 0", exact=True)).to_be_visible()
    assert page.locator(".message").count() == 230
    page.get_by_role("button", name="Jump to the latest message").click()
    expect(latest).to_be_in_viewport()


def test_what_was_done_to_a_message_is_seen_at_once(page: Page, device: Device) -> None:
    first, second = incoming("See you at eigth", 5), incoming("forget this", 4)
    with_anna(device, first, second)
    open_thread(page)
    expect(page.get_by_text("forget this").last).to_be_visible()

    reaction = {"messageType": "reaction", "associatedMessageGuid": first["imessageGuid"], "associatedMessageType": "love"}
    edited = {**first, "text": "See you at eight", "editedAt": second["sentAt"]}
    retracted = {**second, "text": None, "retractedAt": second["sentAt"]}
    answer = incoming("and a file", 3, replyToGuid=first["imessageGuid"], attachments=[file("plan.pdf", 2_400_000)])
    with_anna(device, edited, retracted, outgoing(None, 2, **reaction), answer)

    messages = page.locator(".messages")
    expect(messages).to_contain_text("See you at eight")
    expect(messages).to_contain_text("Edited")
    expect(messages).to_contain_text("This message was retracted")
    expect(messages).not_to_contain_text("forget this")
    expect(messages.get_by_role("list", name="Reactions")).to_contain_text("You: love")
    expect(messages.locator(".attachment")).to_contain_text("plan.pdf")
    expect(messages.locator(".attachment")).to_contain_text("2.4 MB")
    expect(messages.locator(".quote")).to_contain_text("Anna: See you at eight")


def file(name: str, size: int) -> dict[str, object]:
    return {"guid": name, "mimeType": "application/pdf", "filename": name, "byteSize": size}
