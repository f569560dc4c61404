"""What the other tests rely on: the browser tells when something is wrong with a page."""

import pytest
from playwright.sync_api import Page

from tests.fixtures.browser import Chromium, assert_accessible
from tests.fixtures.gateway import GatewayProcess


@pytest.fixture
def page(chromium: Chromium, gateway: GatewayProcess) -> Page:
    """Any page of the gateway's; it is emptied of what it shows."""
    page = chromium.open(f"{gateway.url}/health/live")
    page.set_content("<html lang=en><title>A page</title><main><h1>A page</h1></main>")
    return page


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("console.error('broken')", "console: broken"),
        ("setTimeout(() => { throw new Error('thrown') })", "error: thrown"),
        ("alert('injected')", "dialog: injected"),
        (
            "fetch('http://127.0.0.1:9/stolen', {mode: 'no-cors'}).catch(() => 0)",
            "violates the following Content Security Policy directive",
        ),
    ],
)
def test_what_goes_wrong_in_a_page_is_noted(chromium: Chromium, page: Page, script: str, problem: str) -> None:
    page.evaluate(f"() => {{ {script} }}")
    page.wait_for_timeout(200)

    assert any(problem in each for each in chromium.problems)
    chromium.problems.clear()


def test_requests_to_other_hosts_are_noted(chromium: Chromium, page: Page) -> None:
    page.goto("about:blank")
    page.evaluate("() => fetch('http://127.0.0.1:9/stolen', {mode: 'no-cors'}).catch(() => 0)")

    assert "request to another host: http://127.0.0.1:9/stolen" in chromium.problems
    chromium.problems.clear()


def test_what_readers_of_the_screen_cannot_use_is_found(page: Page) -> None:
    assert_accessible(page)
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")

    with pytest.raises(AssertionError, match="button-name"):
        assert_accessible(page)
