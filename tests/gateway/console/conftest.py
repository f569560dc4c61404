"""The browser, and an owner's console in it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.factories import Device, registration
from tests.fixtures.browser import Chromium, browser, chromium

__all__ = ["browser", "chromium"]

OpenConsole = Callable[..., Page]


def pairing_link(device: Device, name: str = "Browser") -> str:
    """A link that pairs a browser with the device's account."""
    announced = device.client.post("/api/devices/register", json=registration(name=name, platform="web")).raise_for_status().json()
    return f"{device.client.base_url}/#/pair/{announced['deviceId']}/{announced['code']}"


@pytest.fixture
def open_console(chromium: Chromium) -> OpenConsole:
    """Opens an owner's console at an address, such as `samples`, in a browser that is paired with the account."""

    def opened(owner: Device, address: str = "threads", **options: object) -> Page:
        page = chromium.open(pairing_link(owner), **options)  # type: ignore[arg-type]
        expect(page.get_by_role("navigation").first).to_be_visible()
        page.evaluate("address => { location.hash = '#/' + address }", address)
        return page

    return opened
