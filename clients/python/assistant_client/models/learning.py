"""Samples, trainings and adapters."""

from typing import Literal
from uuid import UUID

from assistant_client.models.base import Body, Time

SampleSource = Literal["accept", "edit", "reject", "history"]
TrainingMethod = Literal["sft", "dpo"]
TrainingStatus = Literal["queued", "training", "evaluating", "completed", "failed", "cancelled"]
AdapterState = Literal["ready", "set_aside", "missing", "unknown"]


class Turn(Body, frozen=True, kw_only=True):
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sample(Body, frozen=True, kw_only=True):
    """Something to learn from: a prompt, what the owner said (`output`), and what the owner would not have said."""

    id: UUID
    source: SampleSource
    input: str
    messages: list[Turn]
    output: str | None
    rejected_output: str | None
    quality: float
    conversation_id: UUID | None
    response_id: UUID | None
    replied_at: Time
    created_at: Time


class SamplePage(Body, frozen=True, kw_only=True):
    """Samples, newest first."""

    samples: list[Sample]
    total: int
    page: int
    page_size: int


class HistoryImport(Body, frozen=True, kw_only=True):
    """Which of the owner's past replies become samples: the newest `limit`, of all conversations or of one."""

    conversation_id: UUID | None = None
    since: Time | None = None
    limit: int = 1_000
    reply_within_minutes: int = 24 * 60
    max_history: int = 10
    mask_personal_data: bool = True
    preview: bool = False
    """Only say what would be imported; nothing is stored."""


class SkippedReplies(Body, frozen=True, kw_only=True):
    """How many replies are no samples, by reason."""

    accepted_draft: int = 0
    edited_draft: int = 0
    answers_no_text: int = 0
    links_only: int = 0
    personal_data_only: int = 0
    too_long: int = 0


class SampleExample(Body, frozen=True, kw_only=True):
    """What a sample would show: the text that was answered, and the reply as it would be learnt."""

    input: str
    output: str


class ImportedHistory(Body, frozen=True, kw_only=True):
    """What became of the replies, or in a preview would: new samples, samples from before, none. A preview has a few of the new ones."""

    imported: int
    known: int
    skipped: SkippedReplies
    examples: list[SampleExample]


class TrainingStart(Body, frozen=True, kw_only=True):
    """What to train; without `sample_ids` on all samples that can be learnt from."""

    base_model: str
    epochs: int = 3
    learning_rate: float = 1e-4
    sample_ids: list[UUID] | None = None
    method: TrainingMethod = "sft"


class ComparedDraft(Body, frozen=True, kw_only=True):
    """A held-out message (`input`), what the owner replied, and the drafts with what was in use before and with the new adapter."""

    input: str
    expected: str
    before: str
    after: str


class TrainingComparison(Body, frozen=True, kw_only=True):
    """How many held-out replies were measured, the adapter that was in use at the start (None: the base model), and a few drafts."""

    eval_samples: int
    baseline_adapter_id: UUID | None
    drafts: list[ComparedDraft]


class LossPoint(Body, frozen=True, kw_only=True):
    """The training loss (nats a token of the reply) at a step."""

    step: int
    loss: float


class TrainingJob(Body, frozen=True, kw_only=True):
    """A training and how far it is: `progress` is 0 to 100. Losses are means in nats a token of the reply.

    `activated` says whether the new adapter came into use when the job was completed, and `activation_note` why.
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
    created_at: Time
    started_at: Time | None
    completed_at: Time | None

    @property
    def ended(self) -> bool:
        return self.status in {"completed", "failed", "cancelled"}


class TrainingJobPage(Body, frozen=True, kw_only=True):
    """Training jobs, newest first."""

    jobs: list[TrainingJob]
    total: int
    page: int
    page_size: int


class Adapter(Body, frozen=True, kw_only=True):
    """What a training made. `active`: drafts are written with it. `stale`: something that it learnt from has been deleted since."""

    id: UUID
    job_id: UUID
    base_model: str
    created_at: Time
    eval_loss: float
    baseline_eval_loss: float
    active: bool
    stale: bool
    status: AdapterState
