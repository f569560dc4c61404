"""A training job as one HTML page that needs nothing else: no script, no file, no address."""

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.training.schemas import StoredJob, TrainingJob
from shared.contracts.training import LossPoint

_FOLDER = Path(__file__).parent
_STYLE = (_FOLDER / "report.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_WIDTH, _HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 12, 28
_LARGEST_EXPONENT = 700

HEADERS: Final = {
    # Whatever got into the page, it runs nothing and asks for nothing.
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _Tick:
    """A labelled place on an axis, in pixels."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class _Curve:
    """The loss by step as a drawing; `points` is what an SVG polyline takes. `levels` are the held-out losses, by what they are of."""

    width: int
    height: int
    left: int
    right: int
    bottom: int
    points: str
    rows: list[_Tick]
    columns: list[_Tick]
    levels: dict[str, _Tick]


def render(stored: StoredJob) -> str:
    """The page of a job in whatever state; texts of people are escaped."""
    pages = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    job = stored.job
    return pages.get_template("report.html").render(
        job=job,
        stored=stored,
        style=_STYLE,
        curve=_curve(job),
        perplexity=_perplexity,
        meaning=_meaning(job, stored.eval_samples),
        took=_took(job),
    )


def _perplexity(loss: float) -> str:
    perplexity = math.exp(min(loss, _LARGEST_EXPONENT))
    return f"{perplexity:.2f}" if perplexity < 10_000 else f"{perplexity:.2e}"


def _meaning(job: TrainingJob, eval_samples: int) -> str:
    """The comparison on held-out replies in a sentence; empty where there is none."""
    if job.eval_loss is None or job.baseline_eval_loss is None:
        return ""
    replies = "1 reply" if eval_samples == 1 else f"{eval_samples} replies"
    before, after = _perplexity(job.baseline_eval_loss), _perplexity(job.eval_loss)
    if job.eval_loss < job.baseline_eval_loss:
        found = f"your own words surprise the new adapter less: its perplexity is {after} instead of {before}"
    else:
        found = f"your own words surprise the new adapter no less than what was in use: its perplexity is {after}, before it was {before}"
    return f"On {replies} that it was not trained with, {found}. A perplexity of 1 would be a model that knows every word beforehand."


def _took(job: TrainingJob) -> str:
    if job.started_at is None or job.completed_at is None:
        return ""
    seconds = max(round((job.completed_at - job.started_at).total_seconds()), 0)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s"


def _curve(job: TrainingJob) -> _Curve | None:
    """None where there is nothing to draw a line through."""
    if len(job.history) < 2:
        return None
    held_out = {"In use before": job.baseline_eval_loss, "New adapter": job.eval_loss}
    levels = {name: loss for name, loss in held_out.items() if loss is not None}
    losses = [*(point.loss for point in job.history), *levels.values()]
    low, high = min(losses), max(losses)
    spread = (high - low) or 1.0

    def y(loss: float) -> float:
        return round(_TOP + (high - loss) / spread * (_HEIGHT - _TOP - _BOTTOM), 1)

    return _Curve(
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        bottom=_HEIGHT - _BOTTOM,
        points=" ".join(f"{_x(job.history, point.step)},{y(point.loss)}" for point in job.history),
        rows=[_Tick(y(loss), f"{loss:.2f}") for loss in (low, low + spread / 2, low + spread)],
        columns=[_Tick(_x(job.history, step), str(step)) for step in (job.history[0].step, job.history[-1].step)],
        levels={name: _Tick(y(loss), f"{name}, held out: {loss:.3f}") for name, loss in levels.items()},
    )


def _x(history: Sequence[LossPoint], step: int) -> float:
    first, last = history[0].step, history[-1].step
    return round(_LEFT + (step - first) / ((last - first) or 1) * (_WIDTH - _LEFT - _RIGHT), 1)
