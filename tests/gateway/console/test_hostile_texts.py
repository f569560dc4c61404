"""What strangers can write is shown as text: no script of theirs runs, nothing is loaded, nothing leaves. The browser notes all of that.

`chromium` fails a test on dialogs, violations of the policy, errors, and requests to other hosts.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.fixtures.browser import Chromium
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.gateway.console.visits import ANNA, device_of, drafts_of, incoming, outgoing, visited, with_anna

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"><svg onload=alert(3)>',
    "<iframe src=javascript:alert(4)></iframe>",
    "<a href='javascript:alert(5)'>press</a>",
    "${alert(6)}<style>@import 'http://stranger.example/x.css';</style>",
    "<link rel=stylesheet href=//stranger.example/y.css><base href=//stranger.example/>",
]
ALL_AT_ONCE = " ".join(ATTACKS)


@pytest.fixture
def page(chromium: Chromium, drafting_gateway: GatewayProcess) -> Page:
    return visited(chromium, drafting_gateway.url)


MADE = "#app script, #app iframe, #app base, #app link, #app style, #app [onerror], #app [onload], #app [onclick]"
ELSEWHERE = "#app a:not([href^='#']):not([href^='/'])"


def expect_harmless(page: Page) -> None:
    """Nothing of it became an element, or leads elsewhere."""
    expect(page.locator(MADE)).to_have_count(0)
    expect(page.locator(ELSEWHERE)).to_have_count(0)


def test_in_names_titles_messages_files_and_tapbacks(page: Page, drafting_gateway: GatewayProcess) -> None:
    device = device_of(page, drafting_gateway.url)
    contact = {"phoneNumber": ANNA, "displayName": f"Anna {ATTACKS[1]}"}
    device.client.post("/api/sync/contacts", json={"contacts": [contact]}).raise_for_status()
    first = incoming(ALL_AT_ONCE, 9, attachments=[file(ATTACKS[2])])
    tapback = {"messageType": "reaction", "associatedMessageGuid": first["imessageGuid"], "associatedMessageType": "2006"}
    with_anna(
        device,
        first,
        incoming(None, 8, **tapback, associatedMessageEmoji="<b onclick=alert(9)>"),
        outgoing("a reply", 7, replyToGuid=first["imessageGuid"]),
        incoming(f"joined {ATTACKS[0]}", 6, messageType="system"),
        name=f"Title {ATTACKS[0]}",
        isGroup=True,
    )

    expect(page.get_by_role("link", name="Title <script>alert(1)</script>")).to_be_visible()
    page.get_by_role("link", name="Title").click()

    expect(page.get_by_role("heading", name=f"Title {ATTACKS[0]}")).to_be_visible()
    messages = page.locator(".messages")
    for attack in ATTACKS:
        expect(messages.locator(".message-text").first).to_contain_text(attack)
    expect(messages.locator(".sender").first).to_have_text(f"Anna {ATTACKS[1]}")
    expect(messages.locator(".attachment-name")).to_have_text(ATTACKS[2])
    expect(messages.locator(".quote")).to_contain_text(ATTACKS[0])
    expect(messages.locator(".system")).to_contain_text(ATTACKS[0])
    assert page.title().startswith(f"Title {ATTACKS[0]}")
    expect_harmless(page)


def test_in_what_a_search_finds(page: Page, drafting_gateway: GatewayProcess) -> None:
    device = device_of(page, drafting_gateway.url)
    with_anna(device, incoming(f"walrus {ALL_AT_ONCE}"))

    page.get_by_label("Search names and messages").fill("walrus")
    expect(page.locator(".hit")).to_contain_text(ATTACKS[0])
    page.get_by_label("Search names and messages").fill(ATTACKS[1])
    page.get_by_label("Search names and messages").fill(f"nothing {ATTACKS[1]}")
    expect(page.get_by_text(f"Nothing found for “nothing {ATTACKS[1]}”")).to_be_visible()
    expect_harmless(page)


def test_in_drafts_of_any_kind(page: Page, drafting_gateway: GatewayProcess, database_url: str) -> None:
    """A model may say what it has read."""
    device = device_of(page, drafting_gateway.url)
    conversation = with_anna(device, incoming("Hello?"))
    page.get_by_role("link", name="Anna").click()
    page.get_by_role("button", name="Draft a reply", exact=True).click()
    expect(page.get_by_role("button", name="Accept")).to_be_visible()
    (draft,) = drafts_of(device)
    overwrite(database_url, draft["responseId"], ALL_AT_ONCE)

    page.goto(f"{drafting_gateway.url}/#/drafts")
    for attack in ATTACKS[:3]:
        expect(page.locator(".draft-row-text")).to_contain_text(attack)
    expect_harmless(page)
    page.goto(f"{drafting_gateway.url}/#/threads/{conversation}?draft={draft['responseId']}")
    expect(page.locator(".candidate-text")).to_contain_text(ATTACKS[0])
    page.keyboard.press("e")
    expect(page.get_by_label("Your reply")).to_have_value(ALL_AT_ONCE)
    expect_harmless(page)


@pytest.mark.parametrize(
    "place",
    ["threads/<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "threads/%E0%A4%A", "threads/a?message=<svg onload=alert(1)>"],
)
def test_in_the_address(page: Page, drafting_gateway: GatewayProcess, place: str) -> None:
    page.goto(f"{drafting_gateway.url}/#/{place}")
    expect(page.get_by_text("There is no such page").or_(page.get_by_role("alert")).first).to_be_visible()
    expect_harmless(page)


def overwrite(database_url: str, response_id: str, text: str) -> None:
    """In a thread of its own: Playwright runs an event loop in this one."""
    statement = f"update response set text = $attack${text}$attack$ where id = '{response_id}'"
    with ThreadPoolExecutor() as threads:
        threads.submit(rows, database_url, statement).result()


def file(name: str) -> dict[str, Any]:
    return {"guid": "file", "mimeType": "<img src=x onerror=alert(7)>", "filename": name, "byteSize": 10}
