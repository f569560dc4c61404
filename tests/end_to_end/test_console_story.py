"""The console from the first visit to a trained voice and its end, over the real services: only the engine and the trainer act."""

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.factories import Device, message, sync
from tests.fixtures.browser import Chromium, browser, chromium
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ml_service import data_folder
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.servers import own_servers
from tests.fixtures.workers import ScriptedTrainingWorker
from tests.gateway.console.visits import device_of, visited

__all__ = ["browser", "chromium"]

REPLY = "slow"
"""What the owner always answers; to the trainer it is the word for half a second a step (`tests.fixtures.scripted_training`)."""


@pytest.fixture
def gateway_url(tmp_path: Path, smollm2: Path) -> Iterator[str]:
    """A gateway with an ML service and a training worker, and servers of its own."""
    with ExitStack() as stack:
        postgres, valkey = stack.enter_context(own_servers(tmp_path))
        data_dir, adapter_store = str(data_folder(tmp_path / "data")), str(tmp_path / "adapters")
        ml = ScriptedMlService(tmp_path, valkey.url, adapter_store=adapter_store)
        gateway = GatewayProcess(tmp_path, database_url=postgres.url, redis_url=valkey.url, ml_service_url=ml.url, min_training_samples="4")
        worker = ScriptedTrainingWorker(
            tmp_path, redis_url=valkey.url, ml_service_url=ml.url, data_dir=data_dir, adapter_store=adapter_store
        )
        for process in (ml, gateway, worker):
            stack.callback(process.stop)
            process.start()
        yield gateway.url


def talked(owner: Device) -> None:
    """A thread in which the owner answered six times."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    lines = []
    for number in range(6):
        at = began + timedelta(hours=number)
        lines.append(message(text=f"How was day {number}?", sentAt=at.isoformat()))
        lines.append(message(text=REPLY, sentAt=(at + timedelta(minutes=1)).isoformat(), direction="outgoing", senderId="me"))
    sync(owner, lines, conversationDisplayName="Alex")


def go(page: Page, title: str) -> None:
    page.get_by_role("navigation").first.get_by_role("link", name=title).click()
    expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()


def train(page: Page) -> None:
    """Start a training, see it go on, and see its adapter come into use."""
    go(page, "Trainings")
    page.get_by_role("button", name="Start a training").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("It is learning from your samples.")).to_be_visible()
    expect(page.locator(".curve canvas")).to_be_visible()  # while it learns
    expect(page.get_by_role("button", name="Cancel training")).to_be_visible()
    expect(page.get_by_text("Better by 50.0 %, so it came into use.")).to_be_visible()


def in_use(owner: Device) -> list[bool]:
    """Of each adapter, the newest first."""
    return [adapter["active"] for adapter in owner.client.get("/api/training/adapters").json()["adapters"]]


def test_from_the_first_visit_to_a_trained_voice_and_to_the_end(gateway_url: str, chromium: Chromium, tmp_path: Path) -> None:
    page = visited(chromium, gateway_url)
    owner = device_of(page, gateway_url)
    talked(owner)

    go(page, "Samples")
    page.get_by_role("button", name="Import past replies").first.click()
    expect(page.get_by_text("6 replies become samples")).to_be_visible()
    page.get_by_role("button", name="Import 6 samples").click()
    expect(page.get_by_text("6 samples", exact=True)).to_be_visible()

    train(page)
    train(page)
    go(page, "Voice")
    expect(page.get_by_role("button", name="Roll back to this one")).to_have_count(1)
    assert in_use(owner) == [True, False]
    page.get_by_role("button", name="Roll back to this one").click()
    expect(page.get_by_role("button", name="Use this one")).to_be_visible()
    assert in_use(owner) == [False, True]

    go(page, "Devices")
    page.get_by_role("button", name="Add a device").click()
    page.get_by_label("Name").fill("Second browser")
    page.get_by_role("button", name="Get a code").click()
    second = chromium.open(page.get_by_role("dialog").get_by_text("#/pair/").inner_text())
    expect(second.get_by_role("link", name="Alex")).to_be_visible()
    expect(page.get_by_text("Second browser is paired.")).to_be_visible()
    page.get_by_role("button", name="Done").click()

    go(page, "Account")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    download.value.save_as(tmp_path / "export.zip")
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        assert archive.read("samples.ndjson").count(b"\n") == 6
        assert archive.read("adapters.ndjson").count(b"\n") == 2

    page.get_by_role("button", name="Delete everything").click()
    page.get_by_label("to confirm").fill("delete everything")
    page.get_by_role("button", name="Delete for good").click()
    for window in (page, second):
        expect(window.get_by_role("button", name="Start")).to_be_visible()
    assert owner.client.get("/api/account").status_code == 401
