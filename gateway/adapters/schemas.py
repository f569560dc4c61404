"""Public bodies of adapters."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from gateway.wire import Wire

AdapterState = Literal["ready", "set_aside", "missing", "unknown"]


class Adapter(Wire, frozen=True, kw_only=True):
    """A personal adapter: what a training made.

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
