"""Each page looked at: axe objects to nothing in light and dark, screenshots are kept, and everything can be reached by keys."""

import pytest
from playwright.sync_api import Page, expect

from tests.factories import Device, message, sync
from tests.fixtures.browser import Chromium, assert_accessible, take_screenshots
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.gateway.console.visits import ANNA, device_of, incoming, minutes_ago, open_thread, outgoing, visited, with_anna

JONAS, PRIYA, AMES = "+14155550101", "+14155550102", "dr.ames@example.com"


@pytest.fixture
def page(chromium: Chromium, drafting_gateway: GatewayProcess) -> Page:
    return visited(chromium, drafting_gateway.url)


@pytest.fixture
def device(page: Page, drafting_gateway: GatewayProcess) -> Device:
    """With threads as somebody has them."""
    device = device_of(page, drafting_gateway.url)
    names = {"Anna Lindqvist": {"phoneNumber": ANNA}, "Jonas Okafor": {"phoneNumber": JONAS}, "Dr. Helen Ames": {"email": AMES}}
    contacts = [{"displayName": name, **handle} for name, handle in names.items()]
    device.client.post("/api/sync/contacts", json={"contacts": contacts}).raise_for_status()
    day = 24 * 60
    appointment = message(text="Your appointment is confirmed for the 14th at 9:30.", senderId=AMES, sentAt=minutes_ago(6 * day))
    sync(device, [appointment], name=f"iMessage;-;{AMES}", participantIds=[AMES])
    weekend = [
        message(text="Who brings the charcoal?", senderId=JONAS, sentAt=minutes_ago(2 * day + 50)),
        outgoing("I have half a bag left", 2 * day + 40),
        message(text="Weather looks great for Saturday ☀️", senderId=PRIYA, sentAt=minutes_ago(300)),
    ]
    sync(device, weekend, name="chat;+;lake", conversationDisplayName="Lake weekend", isGroup=True, participantIds=[JONAS, PRIYA, ANNA])
    dessert = outgoing("perfect. should I bring dessert?", day + 8, editedAt=minutes_ago(day + 7))
    thanks = outgoing("thanks!", 110)
    with_anna(
        device,
        incoming("Hey! Are you still coming on Saturday?", day + 20),
        outgoing("of course, wouldn't miss it", day + 18),
        incoming("Great 🎉 Dinner starts around seven. I'm making the lemon pasta you liked, and Jonas brings his guitar.", day + 10),
        dessert,
        incoming("Yes please!", day + 6, replyToGuid=dessert["imessageGuid"]),
        incoming(None, 200, retractedAt=minutes_ago(199)),
        incoming("Here is the address again", 120, attachments=[pdf("directions.pdf")]),
        thanks,
        incoming(None, 109, messageType="reaction", associatedMessageGuid=thanks["imessageGuid"], associatedMessageType="love"),
        incoming("One more thing: could you pick up a bottle of white wine on the way? Nothing fancy 🙂", 8),
        name="Anna Lindqvist",
    )
    return device


def pdf(name: str) -> dict[str, object]:
    return {"guid": name, "mimeType": "application/pdf", "filename": name, "byteSize": 184_320}


def looked_at(page: Page, name: str) -> None:
    assert_accessible(page)
    take_screenshots(page, name)


def test_the_first_visit(chromium: Chromium, gateway: GatewayProcess, second_gateway: GatewayProcess) -> None:
    page = chromium.open(f"{gateway.url}/")
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    looked_at(page, "welcome")
    page.goto(f"{second_gateway.url}/")
    expect(page.get_by_text("make pair")).to_be_visible()
    looked_at(page, "welcome-closed")
    chromium.problems.clear()  # the page was opened for the other gateway's address


def test_an_empty_account(page: Page) -> None:
    expect(page.get_by_text("No threads yet")).to_be_visible()
    looked_at(page, "threads-empty")
    page.get_by_role("link", name="Drafts").first.click()
    expect(page.get_by_text("No drafts yet")).to_be_visible()
    looked_at(page, "drafts-empty")


def test_threads_and_one_of_them_with_its_draft(page: Page, device: Device, ml_service: ScriptedMlService) -> None:
    expect(page.get_by_role("link", name="Anna Lindqvist")).to_be_visible()
    looked_at(page, "threads")
    open_thread(page, "Lake weekend")
    looked_at(page, "thread-group")
    open_thread(page, "Anna Lindqvist")
    looked_at(page, "thread")
    with ml_service.paced(1):
        page.keyboard.press("d")
        expect(page.locator(".candidate-text").first).not_to_be_empty()
        assert_accessible(page)
    expect(page.get_by_role("button", name="Accept")).to_be_visible()
    looked_at(page, "draft")
    page.keyboard.press("e")
    looked_at(page, "draft-edit")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    looked_at(page, "draft-reject")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    expect(page.get_by_text("Accepted", exact=True)).to_be_visible()
    looked_at(page, "draft-accepted")
    page.keyboard.press("Escape")
    page.get_by_role("group", name="Drafts at once").get_by_role("button", name="3").click()
    page.keyboard.press("d")
    expect(page.locator("button.candidate")).to_have_count(3)
    looked_at(page, "draft-candidates")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    looked_at(page, "keys")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("d")
    expect(page.locator(".draft-row")).to_have_count(2)
    looked_at(page, "drafts")


def test_a_search(page: Page, device: Device) -> None:
    page.keyboard.press("/")
    page.keyboard.type("wine")
    expect(page.get_by_role("link", name="bottle of white wine")).to_be_visible()
    looked_at(page, "search")


def test_everything_is_reached_by_the_tabulator(page: Page, device: Device) -> None:
    """From the top of the page into a thread, to its draft and back, without a mouse and without shortcuts."""
    expect(page.get_by_role("link", name="Anna Lindqvist")).to_be_visible()
    page.get_by_role("link", name="Skip to content").press("Enter")
    tab_to(page, "Search names and messages")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Anna Lindqvist")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="Lake weekend")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Anna Lindqvist")).to_be_focused()
    expect(page.locator(".message").first).to_be_visible()
    tab_to(page, "Draft a reply", exact=True)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Accept")).to_be_visible()


def tab_to(page: Page, name: str, *, exact: bool = False) -> None:
    wanted = page.get_by_role("button", name=name, exact=exact).or_(page.get_by_label(name, exact=True))
    for _ in range(30):
        page.keyboard.press("Tab")
        if wanted.last.evaluate("(element) => element === document.activeElement"):
            return
    pytest.fail(f"{name} is not reached by the tabulator")


def test_on_a_phone_one_thing_is_shown_at_a_time(chromium: Chromium, drafting_gateway: GatewayProcess) -> None:
    page = chromium.open(f"{drafting_gateway.url}/", width=390)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="Threads")).to_be_visible()
    page.set_viewport_size({"width": 375, "height": 700})
    with_anna(device_of(page, drafting_gateway.url), incoming("Dinner on Saturday? " * 12), name="Anna " * 30)

    page.get_by_role("link", name="Anna").click()

    expect(page.get_by_role("heading", name="Threads")).to_be_hidden()
    expect(page.locator(".message").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.get_by_role("link", name="Back to all threads").click()
    expect(page.get_by_role("heading", name="Threads")).to_be_visible()
    page.get_by_role("link", name="More").click()
    expect(page.get_by_text("Live", exact=True).last).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    looked_at(page, "more")
