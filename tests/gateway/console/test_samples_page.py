"""Samples in the browser: what the assistant learns from."""

from datetime import UTC, datetime, timedelta

from playwright.sync_api import Page, expect

from tests.factories import Device, message, sync
from tests.fixtures.browser import assert_accessible, take_screenshots
from tests.gateway.console.conftest import OpenConsole
from tests.gateway.responses.situations import drafted, received

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
TALK = [
    ("Dinner on Friday? There is a new place near the station.", "sure! 7?"),
    ("Did you see the match?", "haha yes, what an ending 😄"),
    ("And the door code?", "4821"),
    ("Which film was it?", "https://example.com/film"),
    ("Running late", "no worries, take your time"),
]


def talked(owner: Device, name: str = "Sam") -> None:
    """A thread in which the owner answered: three replies are worth learning from."""
    lines = []
    for number, (theirs, own) in enumerate(TALK):
        at = BEGAN + timedelta(hours=number)
        lines.append(message(text=theirs, sentAt=at.isoformat()))
        lines.append(message(text=own, sentAt=(at + timedelta(minutes=1)).isoformat(), direction="outgoing", senderId="me"))
    sync(owner, lines, name=name, conversationDisplayName=name)


def cards(page: Page) -> list[str]:
    return page.get_by_role("listitem").filter(has=page.get_by_text("They wrote")).all_inner_texts()


def test_an_import_says_first_what_it_would_take_and_what_not(owner: Device, open_console: OpenConsole) -> None:
    talked(owner, "Sam")
    talked(owner, "Alex")
    page = open_console(owner, "samples")
    expect(page.get_by_text("No samples yet")).to_be_visible()
    take_screenshots(page, "samples-empty")
    assert_accessible(page)

    page.get_by_role("button", name="Import past replies").first.click()
    dialog = page.get_by_role("dialog", name="Import past replies")
    expect(dialog.get_by_text("6 replies become samples")).to_be_visible()
    dialog.get_by_label("From").select_option("Alex")
    expect(dialog.locator(".figures").get_by_role("listitem")).to_have_text(
        ["3 replies become samples", "1 left out: only a link", "1 left out: only a number, an address or a code"]
    )
    expect(dialog.get_by_text("no worries, take your time")).to_be_visible()
    assert owner.client.get("/api/training/samples").json()["total"] == 0
    take_screenshots(page, "samples-import")
    assert_accessible(page)
    dialog.get_by_role("button", name="Import 3 samples").click()

    expect(page.get_by_text("3 samples", exact=True)).to_be_visible()
    assert ["no worries, take your time" in card for card in cards(page)] == [True, False, False]
    page.get_by_role("button", name="Import past replies").click()
    expect(dialog.get_by_text("3 are samples already")).to_be_visible()


def test_nothing_to_import_says_what_to_do(owner: Device, open_console: OpenConsole) -> None:
    page = open_console(owner, "samples")
    page.get_by_role("button", name="Import past replies").first.click()

    expect(page.get_by_text("There is no reply of yours here. Sync your messages first")).to_be_visible()
    expect(page.get_by_role("button", name="Nothing to import")).to_be_disabled()


def test_samples_of_one_source_and_without_one_that_was_wrong(owner: Device, open_console: OpenConsole) -> None:
    talked(owner)
    owner.client.post("/api/training/samples/import", json={}).raise_for_status()
    draft = drafted(owner, received(owner, "Could you bring a salad?"))["responseId"]
    action = {"action": "edit", "editedResponse": "sure! greek or potato?"}
    owner.client.post(f"/api/responses/{draft}/action", json=action).raise_for_status()
    page = open_console(owner, "samples")
    expect(page.get_by_text("4 samples", exact=True)).to_be_visible()
    take_screenshots(page, "samples")
    assert_accessible(page)

    page.get_by_role("link", name="Edited").click()
    expect(page.get_by_text("1 sample", exact=True)).to_be_visible()
    (edited,) = cards(page)
    assert ("greek or potato" in edited, "Not like this" in edited) == (True, True)
    page.get_by_role("button", name="Delete the sample of “Could you bring a salad?”").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()

    expect(page.get_by_text("None of these")).to_be_visible()
    assert owner.client.get("/api/training/samples").json()["total"] == 3


def test_a_long_list_loads_on(owner: Device, open_console: OpenConsole) -> None:
    lines = []
    for number in range(120):
        at = BEGAN + timedelta(hours=number)
        lines.append(message(text=f"Question {number}", sentAt=at.isoformat()))
        lines.append(message(text=f"answer {number}", sentAt=(at + timedelta(minutes=1)).isoformat(), direction="outgoing", senderId="me"))
    sync(owner, lines)
    owner.client.post("/api/training/samples/import", json={}).raise_for_status()
    page = open_console(owner, "samples")

    for _ in range(3):
        page.get_by_text("Open the thread").last.scroll_into_view_if_needed()
        page.wait_for_timeout(300)

    expect(page.get_by_text("Question 0")).to_be_visible()
    assert len(cards(page)) == 120
