"""The state of the installation in the browser."""

from playwright.sync_api import expect

from tests.factories import Device
from tests.fixtures.browser import assert_accessible, take_screenshots
from tests.fixtures.training_system import MODEL, TrainingSystem
from tests.fixtures.waiting import eventually
from tests.gateway.console.conftest import OpenConsole


def test_says_what_serves_and_follows_what_goes_and_comes(
    learner: Device, training_system: TrainingSystem, open_console: OpenConsole
) -> None:
    page = open_console(learner, "system")
    expect(page.get_by_text("Drafts can be written.")).to_be_visible()
    expect(page.get_by_text(MODEL).first).to_be_visible()
    expect(page.get_by_text("135 million parameters", exact=True)).to_be_visible()
    take_screenshots(page, "system")
    assert_accessible(page)

    with training_system.ml.away():
        expect(page.get_by_text("The ML service cannot be reached.")).to_be_visible()
        expect(page.get_by_text("No drafts and no trainings until it is back")).to_be_visible()
        take_screenshots(page, "system-away")
        assert_accessible(page)

    expect(page.get_by_text("Drafts can be written.")).to_be_visible()


def test_a_training_cannot_be_started_while_the_service_is_away(
    learner: Device, training_system: TrainingSystem, open_console: OpenConsole
) -> None:
    training_system.samples(learner)
    page = open_console(learner, "trainings")

    with training_system.ml.away():
        eventually(lambda: learner.client.get("/api/system").json()["engine"] == "away")  # an answer may be a second old
        page.get_by_role("button", name="Start a training").first.click()
        expect(page.get_by_text("The ML service is away")).to_be_visible()

    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()
