"""When a new adapter comes into use by itself (docs/decisions/0016-activation.md)."""

from dataclasses import dataclass
from uuid import UUID

from gateway.adapters.schemas import TrainedAdapter

LEAST_IMPROVEMENT = 0.005
"""The share by which the held-out loss must be lower; less is noise."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether, and a sentence for people that says why."""

    activate: bool
    note: str


def judge(new: TrainedAdapter, active_adapter_id: UUID | None) -> Verdict:
    """Decide about an adapter that was just trained, given the one that is active now."""
    change = 1 - new.eval_loss / new.baseline_eval_loss if new.baseline_eval_loss > 0 else 0.0
    figures = f"its loss on held-out replies is {new.eval_loss:.3f}, of what was in use {new.baseline_eval_loss:.3f}"
    if change < LEAST_IMPROVEMENT:
        return Verdict(False, f"Not activated, because it is not better by {LEAST_IMPROVEMENT:.1%} or more: {figures}")
    if active_adapter_id != new.baseline_adapter_id:
        return Verdict(False, "Not activated, because what is in use now is not what it was compared with; compare them and choose")
    if new.stale:
        return Verdict(False, "Not activated, because samples that it was trained on were deleted meanwhile; train again")
    return Verdict(True, f"Activated, because it is better by {change:.1%}: {figures}")
