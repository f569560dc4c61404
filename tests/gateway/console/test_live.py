"""Nothing is missed while the gateway is away: it is killed with -9 and comes back."""

from playwright.sync_api import expect

from tests.fixtures.browser import Chromium
from tests.fixtures.queue_system import QueueSystem
from tests.gateway.console.visits import ANNA, device_of, expect_live, incoming, open_thread, visited, with_anna


def test_a_page_comes_back_by_itself_and_has_missed_nothing(chromium: Chromium, queue_system: QueueSystem) -> None:
    page = visited(chromium, queue_system.url)
    device = device_of(page, queue_system.url)
    elsewhere = queue_system.elsewhere(device)
    with_anna(device, incoming("before", 5))
    open_thread(page)
    first = queue_system.gateways[0]

    first.kill()
    try:
        expect(page.locator(".sidebar .connection")).to_have_text("Reconnecting…")
        with_anna(elsewhere, incoming("while it was away", 4))
        contact = {"phoneNumber": ANNA, "displayName": "Anna"}
        elsewhere.client.post("/api/sync/contacts", json={"contacts": [contact]}).raise_for_status()
        expect(page.get_by_text("before").last).to_be_visible()  # what was there stays
    finally:
        first.start()

    expect_live(page)
    expect(page.locator(".messages")).to_contain_text("while it was away")
    with_anna(device, incoming("afterwards", 3))
    expect(page.locator(".messages")).to_contain_text("afterwards")


def test_a_draft_that_was_queued_is_told_after_the_gateway_came_back(chromium: Chromium, queue_system: QueueSystem) -> None:
    page = visited(chromium, queue_system.url)
    device = device_of(page, queue_system.url)
    with_anna(device, incoming("Dinner on Saturday?"))
    open_thread(page)
    first = queue_system.gateways[0]
    with queue_system.without_workers():
        page.get_by_role("button", name="Queue it").click()
        expect(page.get_by_text("Queued. You may leave")).to_be_visible()
        first.kill()
    try:
        expect(page.locator(".sidebar .connection")).to_have_text("Reconnecting…")
    finally:
        first.start()

    expect(page.get_by_role("button", name="Accept")).to_be_visible()


def test_a_draft_that_breaks_off_says_so_and_can_be_asked_for_again(chromium: Chromium, queue_system: QueueSystem) -> None:
    page = visited(chromium, queue_system.url)
    device = device_of(page, queue_system.url)
    with_anna(device, incoming("Dinner on Saturday?"))
    open_thread(page)
    first = queue_system.gateways[0]
    with queue_system.ml.paced(0.5):
        page.keyboard.press("d")
        expect(page.locator(".candidate-text").first).not_to_be_empty()
        first.kill()
        try:
            expect(page.get_by_role("alert")).to_contain_text("The connection broke off")
        finally:
            first.start()
    expect_live(page)

    page.get_by_role("button", name="Draft again").click()

    expect(page.get_by_role("button", name="Accept")).to_be_visible()
