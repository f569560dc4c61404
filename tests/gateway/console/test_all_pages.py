"""What is true of every page about learning, devices, the account and the system."""

import pytest
from playwright.sync_api import Page, expect

from tests.factories import Device
from tests.fixtures.browser import assert_accessible, take_screenshots
from tests.gateway.console.conftest import OpenConsole

PAGES = {"s": "Samples", "b": "Bring in messages", "r": "Trainings", "v": "Voice", "e": "Devices", "a": "Account", "y": "System"}
SMALL_PHONE = 375


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent"))


def test_each_is_two_keys_away_and_axe_finds_nothing_on_an_empty_account(owner: Device, open_console: OpenConsole) -> None:
    page = open_console(owner)
    expect(page.get_by_role("heading", name="Threads", level=1)).to_be_visible()

    for letter, title in PAGES.items():
        page.keyboard.press("g")
        page.keyboard.press(letter)
        expect(page.get_by_role("heading", name=title, level=1)).to_be_focused()
        expect(page).to_have_title(f"{title} \u2013 Conversation Assistant")
        expect(page.get_by_text("Loading…")).to_have_count(0)
        take_screenshots(page, f"{title.lower()}-new-account")
        assert_accessible(page)


def test_each_fits_a_small_phone(owner: Device, open_console: OpenConsole) -> None:
    page = open_console(owner)
    page.set_viewport_size({"width": SMALL_PHONE, "height": 667})

    for title in PAGES.values():
        if title != "Samples":  # the bar has no room for the others
            page.get_by_role("link", name="More").click()
        page.get_by_role("link", name=title).last.click()
        expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()
        expect(page.get_by_text("Loading…")).to_have_count(0)
        assert page.evaluate("document.querySelector('main').scrollWidth") <= SMALL_PHONE


@pytest.mark.parametrize(
    ("address", "button", "field"),
    [("samples", "Import past replies", "From"), ("devices", "Add a device", "Name"), ("account", "Delete everything", "to confirm")],
)
def test_dialogs_keep_the_focus_and_give_it_back(owner: Device, open_console: OpenConsole, address: str, button: str, field: str) -> None:
    page = open_console(owner, address)
    opener = page.get_by_role("button", name=button).first
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label(field)).to_be_visible()

    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")

    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()


def test_a_device_is_added_with_the_keyboard_alone(owner: Device, open_console: OpenConsole) -> None:
    page = open_console(owner, "devices")
    page.get_by_role("button", name="Add a device").focus()

    page.keyboard.press("Enter")
    while focused(page) != "" or page.evaluate("document.activeElement.tagName") != "INPUT":
        page.keyboard.press("Tab")
    page.keyboard.type("Phone")
    page.keyboard.press("Enter")

    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    assert [device["name"] for device in owner.client.get("/api/devices").json()["devices"] if device["status"] == "pending"] == ["Phone"]
