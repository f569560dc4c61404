"""What the stories in the browser begin with."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.factories import Device, device_with, message, sync
from tests.fixtures.browser import Chromium

ANNA = "+14155550100"


def visited(chromium: Chromium, url: str, **options: Any) -> Page:
    """A browser that has just begun an account at the gateway."""
    page = chromium.open(f"{url}/", **options)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="Threads", exact=True)).to_be_visible()
    expect_live(page)
    return page


def expect_live(page: Page) -> None:
    expect(page.locator(".sidebar .connection")).to_have_text("Live")


def device_of(page: Page, url: str) -> Device:
    """The browser's own device, for calls beside it."""
    token: str = page.evaluate("import('/console/session.js').then((session) => session.token())")
    return device_with(url, token, "")


def minutes_ago(minutes: float) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()


def incoming(text: str | None, minutes: float = 1, **changes: Any) -> dict[str, Any]:
    return message(text=text, senderId=ANNA, sentAt=minutes_ago(minutes), **changes)


def outgoing(text: str | None, minutes: float = 1, **changes: Any) -> dict[str, Any]:
    return message(text=text, senderId="me", direction="outgoing", sentAt=minutes_ago(minutes), **changes)


def with_anna(device: Device, *messages: dict[str, Any], name: str = "Anna", **changes: Any) -> str:
    """Sync messages of the thread with Anna; its id."""
    synced = sync(device, messages, name=f"iMessage;-;{ANNA}", conversationDisplayName=name, participantIds=[ANNA], **changes)
    return str(synced["conversationId"])


def open_thread(page: Page, name: str = "Anna") -> None:
    page.get_by_role("link", name=name).first.click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_focused()
    expect(page.locator(".message").first).to_be_visible()


def drafts_of(device: Device) -> list[dict[str, Any]]:
    """All drafts of the account, newest first."""
    answer: httpx.Response = device.client.get("/api/responses")
    return list(answer.json()["responses"])
