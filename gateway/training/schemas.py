"""Public bodies of training jobs."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct

from gateway.wire import NO_NUL, Wire
from shared.contracts.training import MOST_SAMPLES, DraftComparison, LossPoint, TrainingMethod, TrainingStatus

ENDED: Final = frozenset({"completed", "failed", "cancelled"})

ModelName = Annotated[str, Meta(min_length=1, max_length=100, pattern=NO_NUL, description="A name of the catalogue.")]


class TrainingStart(Wire, frozen=True, kw_only=True):
    """What to train."""

    base_model: ModelName
    epochs: Annotated[int, Meta(ge=1, le=20, description="How often every sample is learnt from.")] = 3
    learning_rate: Annotated[float, Meta(gt=0, le=0.01)] = 1e-4
    sample_ids: Annotated[
        Annotated[list[UUID], Meta(min_length=1, max_length=MOST_SAMPLES)] | None,
        Meta(description=f"The samples to learn from; none means the newest {MOST_SAMPLES:,} that can be learnt from."),
    ] = None
    method: Annotated[
        TrainingMethod, Meta(description="`sft`: learn to say the outputs. `dpo`: learn to prefer them to the rejected ones.")
    ] = "sft"


class TrainingJob(Wire, frozen=True, kw_only=True):
    """A training and how far it is.

    `progress` is 0 to 100 over training and evaluation together, `epoch` counts fractions. Losses are means in nats a token of the reply;
    `evalLoss` and `baselineEvalLoss` are measured on the same held-out replies, with the new adapter and with what was in use at the start.
    `activated` says whether the new adapter came into use when the job was completed, and `activationNote` why. `adapterId` is the
    adapter that came of it, as long as that is there: it has the job's own id. `peakMemoryMib` is the most memory that the training has
    held so far, in MiB.
    """

    id: UUID
    status: TrainingStatus
    progress: float
    error: str | None
    method: TrainingMethod
    base_model: str
    device_id: UUID | None
    epochs: int
    learning_rate: float
    sample_count: int
    epoch: float
    step: int
    total_steps: int
    loss: float | None
    eval_loss: float | None
    baseline_eval_loss: float | None
    activated: bool | None
    activation_note: str | None
    adapter_id: UUID | None
    peak_memory_mib: int | None
    history: list[LossPoint]
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def once_key(self) -> str:
        """Under which its end is published: several gateways may get to know of it."""
        return f"{self.id}:{self.status}"


class TrainingJobAnswer(Wire, frozen=True, kw_only=True):
    job: TrainingJob


class TrainingJobPage(Wire, frozen=True, kw_only=True):
    """Training jobs, newest first; `total` counts all of the account's."""

    jobs: list[TrainingJob]
    total: int
    page: int
    page_size: int


class ComparedDraft(Wire, frozen=True, kw_only=True):
    """A held-out message (`input`), what the owner replied, and the drafts with what was in use before and with the new adapter."""

    input: str
    expected: str
    before: str
    after: str


class TrainingComparison(Wire, frozen=True, kw_only=True):
    """What the report shows beside the job: how many held-out replies were measured, the adapter that was in use at the start (null: the
    base model), and a few drafts. Those of samples that are deleted go."""

    eval_samples: int
    baseline_adapter_id: UUID | None
    drafts: list[ComparedDraft]


class StoredJob(Struct, frozen=True, kw_only=True):
    """A job with what is stored beside it: for its report, and for nobody else.

    `sample_ids` are of what it learns from, as it was chosen at the start. `baseline_adapter_id` was active then, and the new adapter is
    compared with it (none: the base model). `comparisons` have text of people.
    """

    job: TrainingJob
    sample_ids: list[UUID]
    baseline_adapter_id: UUID | None
    eval_samples: int = 0
    comparisons: list[DraftComparison] = []
