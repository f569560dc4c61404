"""The account in the browser: all of it to take along, and its end."""

import zipfile
from pathlib import Path

from playwright.sync_api import expect

from tests.factories import Device, message, sync
from tests.fixtures.browser import assert_accessible, take_screenshots
from tests.gateway.console.conftest import OpenConsole


def test_everything_is_taken_along(owner: Device, open_console: OpenConsole, tmp_path: Path) -> None:
    sync(owner, [message(text="Keep this"), message()])
    page = open_console(owner, "account")
    expect(page.get_by_text("Messages", exact=True).locator("xpath=..")).to_have_text("Messages2")
    take_screenshots(page, "account")
    assert_accessible(page)

    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()

    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    with zipfile.ZipFile(saved) as archive:
        assert b"Keep this" in archive.read("messages.ndjson")
    expect(page.get_by_role("button", name="Export")).to_be_enabled()


def test_everything_is_deleted_after_a_phrase_was_typed(owner: Device, open_console: OpenConsole) -> None:
    sync(owner, [message()])
    page = open_console(owner, "account")
    page.get_by_role("button", name="Delete everything").click()
    sure = page.get_by_role("button", name="Delete for good")
    expect(page.get_by_text("1 message, 0 samples, 0 adapters and all else")).to_be_visible()
    expect(sure).to_be_disabled()
    page.get_by_label("to confirm").fill("delete something")
    expect(sure).to_be_disabled()
    take_screenshots(page, "account-delete")
    assert_accessible(page)

    page.get_by_label("to confirm").fill("delete everything")
    page.keyboard.press("Enter")

    expect(page.get_by_role("button", name="Start")).to_be_visible()
    assert owner.client.get("/api/account").status_code == 401
    page.reload()
    expect(page.get_by_role("button", name="Start")).to_be_visible()
