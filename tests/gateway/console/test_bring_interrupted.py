"""An import is long, and something happens meanwhile: it is stopped, the gateway dies, other pages are looked at."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.factories import Device, paired_device
from tests.fixtures.browser import assert_accessible, take_screenshots
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import eventually
from tests.gateway.console.conftest import OpenConsole

MANY = 100_000

_WATCH = """() => {
  window.longest = 0;
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    window.longest = Math.max(window.longest, now - last);
    last = now;
  }, 20);
}"""


@pytest.fixture
def mortal(run_folder: Path, database_url: str, redis_url: str) -> Iterator[GatewayProcess]:
    """A gateway of the test's own, to be killed."""
    process = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=f"http://127.0.0.1:{free_port()}")
    process.start()
    yield process
    process.stop()


def lines(count: int) -> list[str]:
    """A chat of so many messages, one a minute, no two of which are the same."""
    return [
        f"[{1 + number // 1440 % 28:02}.{1 + number // 40_320 % 12:02}.23, {number // 60 % 24:02}:{number % 60:02}:00] "
        f"{('Sam', 'Alex')[number % 2]}: message {number} of a long chat between two people"
        for number in range(count)
    ]


def chosen(page: Page, folder: Path, count: int) -> None:
    """Choose a chat of so many messages."""
    path = folder / "WhatsApp Chat with Sam.txt"
    path.write_text("\n".join(lines(count)))
    page.get_by_label("Choose a file").set_input_files(path)


def begun(page: Page, folder: Path, count: int) -> None:
    """Import a chat of so many messages, until some of them are sent."""
    chosen(page, folder, count)
    page.get_by_role("button", name=f"Import {count:,} messages").click()
    expect(page.locator("progress:not([value='0'])[max]")).to_be_visible()


def stored(owner: Device) -> int:
    return sum(each["messageCount"] for each in owner.client.get("/api/conversations").json()["conversations"])


def test_it_is_stopped_and_goes_on_where_it_was(gateway: GatewayProcess, open_console: OpenConsole, tmp_path: Path) -> None:
    owner = paired_device(gateway.url)
    page = open_console(owner, "bring")
    begun(page, tmp_path, 20_000)

    page.get_by_role("button", name="Stop").click()

    expect(page.get_by_text("What was imported stays")).to_be_visible()
    take_screenshots(page, "bring-stopped")
    assert_accessible(page)
    assert 0 < (before := stored(owner)) < 20_000
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="Your messages are in")).to_be_focused()
    expect(page.get_by_text("20,000 messages are new")).to_be_visible()
    assert stored(owner) == 20_000 > before


def test_it_goes_on_by_itself_after_a_kill_of_the_gateway(mortal: GatewayProcess, open_console: OpenConsole, tmp_path: Path) -> None:
    owner = paired_device(mortal.url)
    page = open_console(owner, "bring")
    begun(page, tmp_path, 20_000)

    mortal.kill()

    expect(page.get_by_text("It goes on by itself.")).to_be_visible()
    mortal.start()
    expect(page.get_by_role("heading", name="Your messages are in")).to_be_focused()
    assert stored(owner) == 20_000


def test_it_goes_on_while_other_pages_are_looked_at(gateway: GatewayProcess, open_console: OpenConsole, tmp_path: Path) -> None:
    owner = paired_device(gateway.url)
    page = open_console(owner, "bring")
    begun(page, tmp_path, 10_000)

    page.get_by_role("link", name="Threads").first.click()
    expect(page.locator(".thread-row")).to_be_visible()
    eventually(lambda: stored(owner) == 10_000)
    page.get_by_role("link", name="Bring in messages").first.click()

    expect(page.get_by_role("heading", name="Your messages are in")).to_be_visible()


@pytest.mark.slow
def test_a_hundred_thousand_messages_do_not_freeze_the_page(gateway: GatewayProcess, open_console: OpenConsole, tmp_path: Path) -> None:
    owner = paired_device(gateway.url)
    page = open_console(owner, "bring")
    page.evaluate(_WATCH)
    begin = page.evaluate("performance.now()")
    chosen(page, tmp_path, MANY)
    expect(page.get_by_role("button", name=f"Import {MANY:,} messages")).to_be_visible()
    read = page.evaluate("performance.now()")

    page.get_by_role("button", name=f"Import {MANY:,} messages").click()

    expect(page.get_by_role("heading", name="Your messages are in")).to_be_focused(timeout=600_000)
    done, longest = page.evaluate("[performance.now(), window.longest]")
    times = f"read in {(read - begin) / 1000:.1f} s, imported in {(done - read) / 1000:.1f} s"
    print(f"{MANY:,} messages: {times}, longest pause {longest:.0f} ms")
    assert stored(owner) == MANY
    assert longest < (read - begin) / 2  # all of it, if the page read the file itself
