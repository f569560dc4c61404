"""Devices in the browser: another one joins the account, and one is shut out."""

import re
from datetime import UTC, datetime

from playwright.sync_api import Page, expect

from tests.factories import Device, paired_device
from tests.fixtures.browser import Chromium, assert_accessible, take_screenshots
from tests.fixtures.gateway import GatewayProcess
from tests.gateway.console.conftest import OpenConsole, pairing_link


def row(page: Page, name: str) -> list[str]:
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name)).all_inner_texts()


def announced(page: Page, name: str) -> str:
    """Add a device by this name; the link that pairs it."""
    page.get_by_role("button", name="Add a device").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Get a code").click()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    return page.get_by_role("dialog").get_by_text("#/pair/").inner_text()


def test_a_second_browser_joins_by_the_link(owner: Device, open_console: OpenConsole, chromium: Chromium) -> None:
    page = open_console(owner, "devices")
    expect(page.get_by_text("This browser", exact=True)).to_be_visible()
    link = announced(page, "Work laptop")
    take_screenshots(page, "devices-code")
    assert_accessible(page)

    second = chromium.open(link)

    expect(second.get_by_role("heading", name="Threads", level=1)).to_be_visible()
    assert "pair" not in second.url  # the code is in no history
    expect(page.get_by_text("Work laptop is paired.")).to_be_visible()
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_role("heading", name="Work laptop")).to_be_visible()
    take_screenshots(page, "devices")
    assert_accessible(page)


def test_a_link_works_once(owner: Device, open_console: OpenConsole, chromium: Chromium) -> None:
    link = pairing_link(owner)
    expect(chromium.open(link).get_by_role("heading", name="Threads", level=1)).to_be_visible()

    late = chromium.open(link)

    expect(late.get_by_role("alert")).to_contain_text("The code is not right for this device")


def test_what_is_shut_out_notices_at_once(owner: Device, open_console: OpenConsole, chromium: Chromium) -> None:
    other = chromium.open(pairing_link(owner, "Kitchen"))
    expect(other.get_by_role("heading", name="Threads", level=1)).to_be_visible()
    page = open_console(owner, "devices")
    page.get_by_role("button", name="Deactivate Kitchen").click()
    page.get_by_role("dialog").get_by_role("button", name="Deactivate").click()

    expect(other.get_by_role("button", name="Pair this browser")).to_be_visible()
    expect(page.get_by_text("Deactivated", exact=True)).to_be_visible()
    assert ["Deactivated" in text for text in row(page, "Kitchen")] == [True]


def test_this_browser_can_shut_itself_out(owner: Device, open_console: OpenConsole) -> None:
    page = open_console(owner, "devices")
    page.get_by_role("button", name="Deactivate Browser").click()
    expect(page.get_by_text("This is the browser that you use")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Deactivate").click()

    expect(page.get_by_role("button", name="Pair this browser")).to_be_visible()
    assert owner.client.get("/api/devices").status_code == 200  # the account and its other devices stay


def test_a_stranger_is_in_nobodys_list(owner: Device, drafting_gateway: GatewayProcess, open_console: OpenConsole) -> None:
    paired_device(drafting_gateway.url)
    page = open_console(owner, "devices")

    expect(page.get_by_role("heading", name=re.compile("MacBook|Browser"))).to_have_count(2)


def test_an_expired_code_is_replaced_by_another_for_the_same_device(owner: Device, open_console: OpenConsole) -> None:
    page = open_console(owner, "devices")
    page.clock.install()
    old = announced(page, "Phone")

    page.clock.run_for("11:00")
    expect(page.get_by_text("The code has expired.")).to_be_visible()
    page.get_by_role("button", name="Get another code").click()
    page.clock.set_system_time(datetime.now(UTC))  # after it: with time the old code would be good again, and the button gone

    device_id, code = old.split("/")[-2:]
    expect(page.get_by_role("dialog").get_by_text("#/pair/")).to_have_text(re.compile(rf"/{device_id}/(?!{code})\d{{6}}$"))


def test_what_was_shut_out_is_paired_again(owner: Device, open_console: OpenConsole, chromium: Chromium) -> None:
    kitchen = chromium.open(pairing_link(owner, "Kitchen"))
    expect(kitchen.get_by_role("heading", name="Threads", level=1)).to_be_visible()
    page = open_console(owner, "devices")
    page.get_by_role("button", name="Deactivate Kitchen").click()
    page.get_by_role("dialog").get_by_role("button", name="Deactivate").click()
    page.get_by_role("button", name="Get a code for Kitchen").click()
    link = page.get_by_role("dialog", name="Pair Kitchen").get_by_text("#/pair/").inner_text()

    again = chromium.open(link)

    expect(again.get_by_role("heading", name="Threads", level=1)).to_be_visible()
    expect(page.get_by_text("Kitchen is paired.")).to_be_visible()
    assert len(owner.client.get("/api/devices").json()["devices"]) == 3
