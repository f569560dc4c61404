"""GET /api/training/jobs/:id/report."""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from uuid import uuid4

import pytest

from gateway.training.report import HEADERS, render
from gateway.training.schemas import StoredJob, TrainingJob
from shared.contracts.training import DraftComparison, LossPoint
from tests.factories import Device
from tests.fixtures.training_system import MODEL, TrainingSystem, completed, state_of
from tests.gateway.training.situations import started

BEGIN = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} & \"quoted\" 'too'"


def job(**changes: Any) -> StoredJob:
    """A completed job whose adapter came into use."""
    facts: dict[str, Any] = {
        "id": uuid4(), "status": "completed", "progress": 100.0, "error": None, "method": "sft", "base_model": MODEL, "device_id": uuid4(),
        "epochs": 3, "learning_rate": 1e-4, "sample_count": 24, "epoch": 3.0, "step": 18, "total_steps": 18, "loss": 1.9, "eval_loss": 2.0,
        "baseline_eval_loss": 2.5, "activated": True, "activation_note": "Activated, because it is better by 20.0%", "adapter_id": uuid4(),
        "peak_memory_mib": 2355,
        "history": [LossPoint(step=step, loss=3 - step / 20) for step in range(1, 19)], "created_at": BEGIN, "started_at": BEGIN,
        "completed_at": BEGIN + timedelta(minutes=3, seconds=5),
    }  # fmt: skip
    beside: dict[str, Any] = {
        "sample_ids": [], "baseline_adapter_id": None, "eval_samples": 4,
        "comparisons": [DraftComparison(sample_id="1", input="Dinner?", expected="yep", before="I would love to.", after="yep!")],
    }  # fmt: skip
    beside |= {name: changes.pop(name) for name in beside.keys() & changes.keys()}
    return StoredJob(job=TrainingJob(**{**facts, **changes}), **beside)


class _Page(HTMLParser):
    """What a page has in it: elements, their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_shows_curve_comparison_and_drafts() -> None:
    page = _Page(render(job()))
    assert "2.3 GiB at most" in render(job())

    assert {"svg", "polyline", "table"} <= set(page.elements)
    for words in (
        "better by 20.0%",
        "On 4 replies",
        "perplexity is 7.39 instead of 12.18",
        "2.5000",
        "12.18",
        "the base model",
        "3 min 5 s",
    ):
        assert words in page.text
    for words in ("Dinner?", "yep", "I would love to.", "yep!"):
        assert words in page.text
    (points,) = [value for name, value in page.attributes if name == "points" and value]
    heights = [float(point.partition(",")[2]) for point in points.split()]
    assert (len(heights), heights == sorted(heights)) == (18, True)  # the loss falls, so the line goes down, which is up in SVG's numbers


def test_needs_nothing_from_anywhere_and_runs_nothing() -> None:
    page = _Page(render(job()))

    assert set(page.elements).isdisjoint({"script", "link", "img", "iframe", "object", "embed", "form", "base"})
    assert not [name for name, _ in page.attributes if name in ("src", "href", "style", "xlink:href") or name.startswith("on")]
    assert "url(" not in render(job())
    assert "@import" not in render(job())


def test_its_style_is_the_only_thing_that_its_policy_lets_in() -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", render(job()), re.DOTALL)

    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert HEADERS["Content-Security-Policy"].startswith(f"default-src 'none'; style-src 'sha256-{digest}'")


def test_texts_of_people_are_texts() -> None:
    hostile = DraftComparison(sample_id="1", input=HOSTILE, expected=HOSTILE, before=HOSTILE, after=HOSTILE)
    page = _Page(render(job(comparisons=[hostile], error=HOSTILE, activation_note=HOSTILE, base_model=HOSTILE)))

    assert set(page.elements).isdisjoint({"script", "img"})
    assert page.text.count(HOSTILE) == 7


def test_follows_the_readers_light() -> None:
    assert "prefers-color-scheme: dark" in render(job())


@pytest.mark.parametrize("status", ["queued", "training", "evaluating"])
def test_of_a_job_that_runs(status: str) -> None:
    unknown = {"eval_loss": None, "baseline_eval_loss": None, "activated": None, "activation_note": None, "completed_at": None}
    page = _Page(render(job(status=status, progress=45.2, comparisons=[], history=[], started_at=None, **unknown)))

    assert ("progress" in page.elements, "polyline" in page.elements) == (True, False)
    assert ("45 %" in page.text, "yet" in page.text) == (True, True)


def test_of_a_job_that_failed() -> None:
    page = _Page(render(job(status="failed", error="The disk is full", eval_loss=None, activation_note=None, comparisons=[])))

    assert ("The disk is full" in page.text, "There is no comparison." in page.text) == (True, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"eval_loss": 0.0, "baseline_eval_loss": 0.0},
        {"eval_loss": 5000.0, "baseline_eval_loss": 1e300},
        {"history": [LossPoint(step=5, loss=1.0), LossPoint(step=5, loss=1.0)], "eval_loss": 1.0, "baseline_eval_loss": 1.0},
        {"history": [LossPoint(step=1, loss=1.0)]},
        {"completed_at": BEGIN - timedelta(seconds=5)},
        {"eval_samples": 1, "baseline_adapter_id": uuid4(), "activated": False},
    ],
)
def test_of_strange_figures(changes: dict[str, Any]) -> None:
    page = render(job(**changes))

    assert "</html>" in page
    assert "nan" not in page
    assert "inf" not in _Page(page).text.replace("information", "")


def test_comes_as_a_page_that_is_kept_nowhere(learner: Device, training_system: TrainingSystem) -> None:
    first, *_ = training_system.samples(learner)
    job_id = started(learner)
    running = learner.client.get(f"/api/training/jobs/{job_id}/report")
    shown = DraftComparison(sample_id=first, input=HOSTILE, expected="e", before="b", after="a")
    history = [LossPoint(step=1, loss=3.0), LossPoint(step=2, loss=2.0)]
    training_system.tell(learner, state_of(job_id, "training", progress=50.0), completed(job_id, comparisons=[shown], history=history))

    answer = learner.client.get(f"/api/training/jobs/{job_id}/report")

    assert (running.status_code, "queued" in running.text) == (200, True)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert (answer.headers["Cache-Control"], answer.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    assert ("polyline" in answer.text, HOSTILE in _Page(answer.text).text, "<script>" in answer.text) == (True, True, False)


def test_the_same_as_figures_and_texts_for_clients_with_a_page_of_their_own(learner: Device, training_system: TrainingSystem) -> None:
    first, *_ = training_system.samples(learner)
    job_id = started(learner)
    address = f"/api/training/jobs/{job_id}/comparison"
    running = learner.client.get(address)
    shown = DraftComparison(sample_id=first, input="Dinner?", expected="yep", before="I would love to.", after=HOSTILE)
    training_system.tell(learner, completed(job_id, comparisons=[shown]))

    ended = learner.client.get(address).json()
    learner.client.delete(f"/api/training/samples/{first}").raise_for_status()

    draft = {"input": "Dinner?", "expected": "yep", "before": "I would love to.", "after": HOSTILE}
    assert running.json() == {"evalSamples": 0, "baselineAdapterId": None, "drafts": []}
    assert ended == {"evalSamples": 4, "baselineAdapterId": None, "drafts": [draft]}
    assert learner.client.get(address).json()["drafts"] == []
