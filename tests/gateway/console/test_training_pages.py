"""Trainings and adapters in the browser."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from shared.contracts.training import DraftComparison, LossPoint
from tests.factories import Device
from tests.fixtures.browser import assert_accessible, take_screenshots
from tests.fixtures.training_system import TrainingSystem, completed, state_of
from tests.gateway.console.conftest import OpenConsole
from tests.gateway.training.situations import trained

CURVE = [LossPoint(step=step, loss=1.4 + 2 * 0.9**step) for step in range(1, 61)]


def started_here(page: Page) -> str:
    """Start a training with what the dialog proposes; its id, once its page is shown."""
    page.get_by_role("button", name="Start a training").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("heading", name="Training of", level=1)).to_be_visible()
    return str(page.evaluate("location.hash")).rsplit("/", 1)[-1]


def drawn(page: Page) -> int:
    """How many pixels of the curve have its colour."""
    return int(
        page.evaluate("""() => {
            const canvas = document.querySelector(".curve canvas");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let drawn = 0;
            for (let at = 0; at < data.length; at += 4) if (data[at + 2] > 190 && data[at] < 90 && data[at + 3] > 200) drawn++;
            return drawn;
        }""")
    )


def test_from_the_start_over_the_live_curve_into_use(learner: Device, training_system: TrainingSystem, open_console: OpenConsole) -> None:
    first, *_ = training_system.samples(learner)
    page = open_console(learner, "trainings")
    expect(page.get_by_text("No trainings yet")).to_be_visible()
    job_id = started_here(page)
    expect(page.get_by_text("It waits for its turn.")).to_be_visible()

    training_system.tell(learner, state_of(job_id, "training", progress=20.0, step=12, total_steps=60, history=CURVE[:12]))
    expect(page.get_by_text("20 %, step 12 of 60")).to_be_visible()
    expect(page.locator(".curve canvas")).to_be_visible()
    some = drawn(page)
    training_system.tell(learner, state_of(job_id, "training", progress=80.0, step=48, total_steps=60, history=CURVE[:48]))
    expect(page.get_by_role("img", name="by step 48")).to_be_visible()
    assert drawn(page) > some > 0
    take_screenshots(page, "training-running")
    assert_accessible(page)

    training_system.ml.store_adapter(job_id, str(learner.account_id))
    draft = DraftComparison(sample_id=first, input="Dinner?", expected="yep", before="I would be delighted to.", after="yep!")
    training_system.tell(learner, completed(job_id, history=CURVE, comparisons=[draft]))
    expect(page.get_by_text("Better by 20.0 %, so it came into use.")).to_be_visible()
    for words in ("New adapter, held out: 2.00", "I would be delighted to.", "yep!"):
        expect(page.get_by_text(words, exact=True)).to_be_visible()
    take_screenshots(page, "training")
    assert_accessible(page)
    page.get_by_role("link", name="Choose what drafts are written with").click()
    expect(page.get_by_text("Drafts are written with your adapter of")).to_be_visible()


def test_the_report_is_saved_as_a_file(learner: Device, training_system: TrainingSystem, open_console: OpenConsole, tmp_path: Path) -> None:
    training_system.samples(learner)
    page = open_console(learner, f"trainings/{trained(training_system, learner)}")

    with page.expect_download() as download:
        page.get_by_role("button", name="Save report").click()

    saved = tmp_path / "report.html"
    download.value.save_as(saved)
    assert re.fullmatch(r"training-\d{4}-\d\d-\d\d\.html", download.value.suggested_filename)
    assert "On held-out replies" in saved.read_text()


def test_a_worse_one_says_why_it_is_not_in_use(learner: Device, training_system: TrainingSystem, open_console: OpenConsole) -> None:
    training_system.samples(learner)
    page = open_console(learner, f"trainings/{trained(training_system, learner, eval_loss=2.6)}")

    expect(page.get_by_text("It did not come into use by itself.")).to_be_visible()
    expect(page.get_by_text("Not activated, because it is not better by 0.5% or more")).to_be_visible()
    expect(page.get_by_text("loss on held-out replies, 4.0 % worse")).to_be_visible()


def test_one_that_runs_is_cancelled_and_one_that_failed_says_why(
    learner: Device, training_system: TrainingSystem, open_console: OpenConsole
) -> None:
    training_system.samples(learner)
    page = open_console(learner, "trainings")
    started_here(page)
    page.get_by_role("button", name="Cancel training").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel training").click()
    expect(page.get_by_text("It was cancelled; nothing changed.")).to_be_visible()

    page.get_by_role("link", name="All trainings").click()
    failed = started_here(page)
    training_system.tell(learner, state_of(failed, "failed", error="The disk is full"))
    expect(page.get_by_text("The disk is full")).to_be_visible()
    page.get_by_role("link", name="All trainings").click()
    expect(page.get_by_role("listitem").filter(has_text="Training of")).to_have_count(2)
    trained(training_system, learner)
    expect(page.get_by_text("Better by 20.0 %")).to_be_visible()  # heard of over the socket
    take_screenshots(page, "trainings")
    assert_accessible(page)


def test_options_are_folded_and_what_is_wrong_in_them_is_named(
    learner: Device, training_system: TrainingSystem, open_console: OpenConsole
) -> None:
    training_system.samples(learner)
    page = open_console(learner, "trainings")
    page.get_by_role("button", name="Start a training").first.click()
    dialog = page.get_by_role("dialog", name="Start a training")
    expect(dialog.get_by_label("Epochs")).to_be_hidden()
    dialog.get_by_text("Options").click()
    take_screenshots(page, "training-start")
    assert_accessible(page)

    dialog.get_by_label("Method").select_option("Prefer what you say to what you rejected")
    dialog.get_by_label("Epochs").fill("5")
    dialog.get_by_role("button", name="Start", exact=True).click()

    expect(dialog.get_by_role("alert")).to_contain_text("needs at least 4 preference pairs")
    dialog.get_by_label("Method").select_option("Learn what you say")
    dialog.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("heading", name="Training of", level=1)).to_be_visible()
    assert training_system.ml.started[-1].epochs == 5


def test_with_too_few_samples_it_leads_to_them(learner: Device, open_console: OpenConsole) -> None:
    page = open_console(learner, "trainings")
    page.get_by_role("button", name="Start a training").first.click()

    expect(page.get_by_text("A training needs at least 4, and you have 0.")).to_be_visible()
    page.get_by_role("link", name="Go to your samples").click()
    expect(page.get_by_role("heading", name="Samples", level=1)).to_be_visible()


def test_back_to_an_older_adapter_and_to_the_base_model(
    learner: Device, training_system: TrainingSystem, open_console: OpenConsole
) -> None:
    training_system.samples(learner)
    older, newer = trained(training_system, learner), trained(training_system, learner, eval_loss=1.8, baseline_eval_loss=2.0)

    def in_use() -> list[str]:
        adapters = learner.client.get("/api/training/adapters").json()["adapters"]
        return [adapter["id"] for adapter in adapters if adapter["active"]]

    page = open_console(learner, "adapters")
    expect(page.get_by_text("In use", exact=True)).to_be_visible()
    assert in_use() == [newer]
    take_screenshots(page, "adapters")
    assert_accessible(page)

    page.get_by_role("button", name="Roll back to this one").click()
    expect(page.get_by_role("button", name="Use this one")).to_be_visible()
    assert in_use() == [older]
    page.get_by_role("button", name="Use the base model").click()
    expect(page.get_by_text("Drafts are written with the base model.")).to_be_visible()
    assert in_use() == []
    page.get_by_role("button", name="Delete the adapter").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("listitem").filter(has_text="Adapter of")).to_have_count(1)


def test_an_adapter_that_has_learnt_what_is_deleted_says_so(
    learner: Device, training_system: TrainingSystem, open_console: OpenConsole
) -> None:
    first, *_ = training_system.samples(learner)
    trained(training_system, learner)
    learner.client.delete(f"/api/training/samples/{first}").raise_for_status()

    with training_system.ml.away():
        page = open_console(learner, "adapters")
        expect(page.get_by_text("Stale", exact=True)).to_be_visible()
        expect(page.get_by_text("Not known", exact=True)).to_be_visible()
