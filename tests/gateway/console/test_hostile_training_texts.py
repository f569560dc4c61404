"""What others wrote is text wherever it is shown: nothing of it runs, and no request leaves. The browser's fixture tells of either."""

import json
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from shared.contracts.training import DraftComparison
from tests.factories import Device, message, registration, sync
from tests.fixtures.training_system import TrainingSystem, completed, state_of
from tests.gateway.console.conftest import OpenConsole
from tests.gateway.training.situations import started

HOSTILE = [
    "<script>window.ran = 1; alert(1)</script>",
    "<img src=http://127.0.0.1:9/stolen onerror=alert(2)>",
    "javascript:alert(3)",
    "\"'><svg onload=alert(4)>",
    "{{constructor.constructor('alert(5)')()}} ${alert(6)}",
    "</p></li></main><iframe srcdoc='<script>alert(7)</script>'></iframe>",
]
ALL = " ".join(HOSTILE)


def is_text(page: Page) -> None:
    """All of it can be read on the page, and none of it became a part of the page."""
    for text in HOSTILE:
        expect(page.get_by_text(text).first).to_be_attached()
    assert page.evaluate("window.ran") is None
    assert page.locator("main iframe, main img, main script, [onerror], [onload], a[href^='javascript:']").count() == 0


def hostile_sample(system: TrainingSystem, learner: Device) -> str:
    (sample_id, *_) = system.samples(learner)
    system.rows(
        "update sample set messages = $2, output = $3, rejected_output = $3 where id = $1",
        UUID(sample_id),
        json.dumps([{"role": "user", "content": ALL}]),
        ALL,
    )
    return sample_id


def test_in_samples(learner: Device, training_system: TrainingSystem, open_console: OpenConsole) -> None:
    hostile_sample(training_system, learner)
    page = open_console(learner, "samples")

    is_text(page)
    page.get_by_role("button", name="Delete the sample of “<script>").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def test_in_the_names_of_threads_to_import_from(learner: Device, open_console: OpenConsole) -> None:
    sync(learner, [message()], conversationDisplayName=ALL[:200])
    page = open_console(learner, "samples")
    page.get_by_role("button", name="Import past replies").first.click()

    expect(page.get_by_role("option", name="<script>")).to_be_attached()


def test_in_what_an_import_would_take(learner: Device, open_console: OpenConsole) -> None:
    theirs = message(text=ALL, sentAt="2026-01-01T12:00:00Z")
    sync(learner, [theirs, message(text=ALL, direction="outgoing", senderId="me", sentAt="2026-01-01T12:01:00Z")])
    page = open_console(learner, "samples")
    page.get_by_role("button", name="Import past replies").first.click()

    is_text(page)


def test_in_names_of_devices(learner: Device, open_console: OpenConsole) -> None:
    for text in HOSTILE:
        learner.client.post("/api/devices/register", json=registration(name=text, osVersion=text[:28])).raise_for_status()
    page = open_console(learner, "devices")

    is_text(page)
    page.get_by_role("button", name=f"Get a code for {HOSTILE[0]}").click()
    expect(page.get_by_role("dialog", name=HOSTILE[0])).to_be_visible()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_in_what_comes_of_trainings(learner: Device, training_system: TrainingSystem, open_console: OpenConsole, status: str) -> None:
    sample_id = hostile_sample(training_system, learner)
    job_id = started(learner)
    draft = DraftComparison(sample_id=sample_id, input=ALL, expected=ALL, before=ALL, after=ALL)
    end = completed(job_id, comparisons=[draft]) if status == "completed" else state_of(job_id, "failed", error=ALL)
    training_system.tell(learner, end)

    is_text(open_console(learner, f"trainings/{job_id}"))
    if status == "failed":
        is_text(open_console(learner, "trainings"))


def test_in_addresses(learner: Device, open_console: OpenConsole) -> None:
    page = open_console(learner, f"samples?source={HOSTILE[0]}")
    expect(page.get_by_role("heading", name="Samples", level=1)).to_be_visible()
    page.evaluate("address => { location.hash = '#/trainings/' + encodeURIComponent(address) }", ALL)

    expect(page.get_by_role("alert")).to_be_visible()
    assert page.evaluate("window.ran") is None
