"""Bodies of the ML service's training: `/training/start`, `/training/status/:job_id`, `/training/cancel/:job_id`."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from shared.contracts.generation import Turn
from shared.contracts.names import BASE_SCOPE, AdapterId, Name, Scope, TraceParent

TrainingMethod = Literal["sft", "dpo"]
"""`sft`: learn to say the outputs. `dpo`: learn to prefer the outputs to the rejected ones."""
TrainingStatus = Literal["queued", "training", "evaluating", "completed", "failed", "cancelled"]

MOST_SAMPLES: Final = 20_000
FEWEST_COMPARED: Final = 4
"""With fewer samples nothing is held out, and the adapter comes without figures that could speak for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSample:
    """Something to learn from: exactly one of `input` (one message) and `messages` (chat turns, the last one of which is answered).

    All texts are untrusted: control tokens in them are never read as control tokens.
    """

    id: Annotated[str, MaxLen(100)] | None = None
    """The caller's own name for it; comes back in comparisons and in errors."""
    input: Annotated[str, MinLen(1)] | None = None
    messages: Annotated[list[Turn], MinLen(1)] | None = None
    output: Annotated[str, MinLen(1)]
    """What the owner says."""
    rejected_output: Annotated[str, MinLen(1)] | None = None
    """What the owner would not say; `dpo` learns from samples that have it."""
    quality: Annotated[float, Ge(0), Le(1)] = 1.0
    """How much it counts; 0 is left out."""
    thread: Annotated[str, MaxLen(100)] | None = None
    """The thread that `messages` are a window of. Windows of one thread that overlap are learned together, with histories of any length,
    down to none; a sample of no thread is learned as it is."""
    at: datetime | None = None
    """When it was said. The newest samples are held out; without times the last ones given count as the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """The shape of the adapter. `dropout` is a share of the inputs that is left out at random while training."""

    rank: Literal[8, 16, 32, 64] = 8
    alpha: Annotated[float, Gt(0), Le(512)] = 16.0
    dropout: Annotated[float, Ge(0), Le(0.5)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """What to train. With a `job_id` of the caller's own, asking twice is asking once: the second time is 409."""

    job_id: Name | None = None
    base_model: Annotated[str, MinLen(1), MaxLen(100)]
    """A name of the catalogue."""
    samples: Annotated[list[TrainingSample], MinLen(1), MaxLen(MOST_SAMPLES)]
    method: TrainingMethod = "sft"
    epochs: Annotated[int, Ge(1), Le(20)] = 3
    learning_rate: Annotated[float, Gt(0), Le(0.01)] = 1e-4
    adapter_id: AdapterId | None = None
    """Another name for `job_id`: a job's id is also its adapter's. One that exists is 409."""
    baseline_adapter_id: AdapterId | None = None
    """The adapter in use now, which the new one is compared with; none means the base model."""
    scope: Scope = BASE_SCOPE
    lora: LoraSettings = field(default_factory=LoraSettings)
    eval_fraction: Annotated[float, Gt(0), Le(0.5)] = 0.2
    """The share of the samples that is held out; at least one, at most 64, and none of fewer than 4 samples."""
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0
    traceparent: TraceParent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingAccepted:
    """The job is on disk in the queue: no crash loses it."""

    job_id: str
    status: TrainingStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class LossPoint:
    """The training loss (nats a token of the reply) at an optimizer step."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftComparison:
    """A held-out message and its replies: the owner's, the one before training and the one after."""

    sample_id: str | None
    input: str
    expected: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """How far a training job is.

    `progress` is 0 to 100 over training and evaluation together; `epoch` counts fractions. Losses are means in nats a token of the
    reply; `eval_loss` and `baseline_eval_loss` are measured on the same held-out replies, with the new adapter and with what was in use.
    Perplexity is `exp(loss)`.
    """

    job_id: str
    status: TrainingStatus
    progress: float = 0.0
    epoch: float = 0.0
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    train_samples: int = 0
    eval_samples: int = 0
    peak_memory_mib: int | None = None
    """The most that the trainer has held so far, in MiB: of the machine's memory, or of the GPU's where it trains on one."""
    eval_loss: float | None = None
    baseline_eval_loss: float | None = None
    adapter_id: str | None = None
    """Set once the adapter is stored and can be served."""
    history: list[LossPoint] = field(default_factory=list)
    """At most 200 points, thinned evenly."""
    comparisons: list[DraftComparison] = field(default_factory=list)
    error: str | None = None
    """Why it failed: a sentence for people."""
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
