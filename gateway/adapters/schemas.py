"""Public bodies of adapters, and what a training hands over."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from gateway.wire import Wire

AdapterState = Literal["ready", "set_aside", "missing", "unknown"]


class Adapter(Wire, frozen=True, kw_only=True):
    """A personal adapter: what a training made. `jobId` is that training's, which has the same id.

    `active`: drafts are written with it. `stale`: something that it was trained on has been deleted since. `evalLoss` and
    `baselineEvalLoss`: see the job. `status`: `ready` can be used now; `set_aside` belongs to another base model than the one that serves,
    and waits for it; `missing`: its files are gone; `unknown`: the ML service is away and cannot be asked.
    """

    id: UUID
    job_id: UUID
    base_model: str
    created_at: datetime
    eval_loss: float
    baseline_eval_loss: float
    active: bool
    stale: bool
    status: AdapterState


class AdapterAnswer(Wire, frozen=True, kw_only=True):
    adapter: Adapter


class MaybeAdapterAnswer(Wire, frozen=True, kw_only=True):
    """The adapter that was active, if one was."""

    adapter: Adapter | None


class AdapterList(Wire, frozen=True, kw_only=True):
    """All of the account's adapters, newest first."""

    adapters: list[Adapter]


class TrainedAdapter(Struct, frozen=True, kw_only=True):
    """An adapter whose training, of the same `id`, is completed.

    `stale`: some of `sample_ids` were deleted meanwhile. `eval_loss` and `baseline_eval_loss` are on the same held-out replies, with the
    new adapter and with `baseline_adapter_id`, which was active when the training began (none: the base model).
    """

    id: UUID
    base_model: str
    sample_ids: Sequence[UUID]
    stale: bool
    eval_loss: float
    baseline_eval_loss: float
    baseline_adapter_id: UUID | None
