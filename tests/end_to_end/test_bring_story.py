"""Somebody who knows nothing gets from an empty account to a voice in use and an accepted draft, in the browser alone."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.factories import message, sync
from tests.fixtures.browser import Chromium, assert_accessible, browser, chromium, take_screenshots
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ml_service import data_folder
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.servers import own_servers
from tests.fixtures.workers import ScriptedTrainingWorker
from tests.gateway.console.visits import device_of, visited

__all__ = ["browser", "chromium"]


@pytest.fixture
def whole_url(run_folder: Path, tmp_path: Path, smollm2: Path) -> Iterator[str]:
    """Everything that drafts and learns, with an engine and a trainer that only act: the address of its gateway."""
    folder = run_folder / f"bring-story-{uuid4().hex}"
    folder.mkdir()
    data_dir = str(data_folder(tmp_path / "data"))
    with ExitStack() as stack:
        postgres, valkey = stack.enter_context(own_servers(folder))
        ml = ScriptedMlService(folder, valkey.url, data_dir=data_dir)
        gateway = GatewayProcess(folder, database_url=postgres.url, redis_url=valkey.url, ml_service_url=ml.url)
        worker = ScriptedTrainingWorker(folder, redis_url=valkey.url, ml_service_url=ml.url, data_dir=data_dir)
        for process in (ml, gateway, worker):
            stack.callback(process.stop)
            process.start()
        yield gateway.url


def steps_done(page: Page) -> list[str]:
    return page.locator(".started li[data-done=true] a").all_inner_texts()


def test_from_an_empty_account_to_a_voice_in_use_and_an_accepted_draft(whole_url: str, chromium: Chromium) -> None:
    page = visited(chromium, whole_url)
    owner = device_of(page, whole_url)
    expect(page.get_by_role("link", name="Bring in your messages").last).to_be_visible()
    expect(page.get_by_role("region", name="Getting started")).to_be_visible()
    assert steps_done(page) == []
    take_screenshots(page, "threads-new-account")
    assert_accessible(page)

    page.get_by_role("button", name="Try it with an example").click()
    expect(page.locator(".thread-row")).to_have_count(3)
    expect(page.get_by_role("link", name="Sam (example)")).to_be_visible()
    expect(page.locator(".started li[data-done=true]")).to_have_text(["Bring in your messages, done"])
    take_screenshots(page, "threads-example")
    assert_accessible(page)

    page.get_by_role("link", name="Make samples of your replies").click()
    dialog = page.get_by_role("dialog", name="Import past replies")
    dialog.get_by_role("button", name="Import").last.click()
    expect(page.get_by_text("samples imported")).to_be_visible()
    page.get_by_role("link", name="Threads").first.click()
    expect(page.locator(".started li[data-done=true]")).to_have_count(2)

    page.get_by_role("link", name="Train your voice").click()
    page.get_by_role("dialog", name="Start a training").get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("so it came into use")).to_be_visible()
    page.get_by_role("link", name="Voice").first.click()
    expect(page.get_by_text("Drafts are written with your adapter of")).to_be_visible()

    page.get_by_role("link", name="Threads").first.click()
    expect(page.locator(".started li[data-done=true]")).to_have_count(3)
    page.get_by_role("link", name="Accept a first draft").click()
    expect(page.get_by_role("heading", name="Sam (example)", exact=True)).to_be_focused()
    expect(page.get_by_role("button", name="Draft a reply", exact=True)).to_be_visible()
    page.keyboard.press("d")
    expect(page.get_by_role("button", name="Accept")).to_be_visible()
    page.keyboard.press("a")
    expect(page.get_by_text("Accepted and copied")).to_be_visible()
    (draft,) = owner.client.get("/api/responses").json()["responses"]
    assert draft["action"] == "accept"
    assert "+" in draft["modelVersion"]

    page.get_by_role("link", name="Threads").first.click()
    expect(page.get_by_role("region", name="Getting started")).to_have_count(0)
    page.get_by_role("button", name="Remove the example").click()
    expect(page.get_by_text("No threads yet")).to_be_visible()
    account = owner.client.get("/api/account").json()
    assert (account["conversations"], account["messages"], account["samples"]) == (0, 0, 0)

    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    sync(owner, [message()])
    expect(page.locator(".thread-row")).to_have_count(1)
    assert "/api/conversations" in asked
    assert "/api/account" not in asked, "what is done is looked at again"


def test_the_first_steps_can_be_hidden(chromium: Chromium, gateway: GatewayProcess) -> None:
    page = visited(chromium, gateway.url)
    page.get_by_role("button", name="Hide these steps").click()
    expect(page.get_by_role("region", name="Getting started")).to_have_count(0)

    page.reload()

    expect(page.get_by_text("No threads yet")).to_be_visible()
    expect(page.get_by_role("region", name="Getting started")).to_have_count(0)
