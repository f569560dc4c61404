"""When a new adapter comes into use by itself (docs/decisions/0016-activation.md)."""

from dataclasses import dataclass

LEAST_IMPROVEMENT = 0.005
"""The share by which the held-out loss must be lower; less is noise."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether, and a sentence for people that says why."""

    activate: bool
    note: str


def judge(*, eval_loss: float, baseline_eval_loss: float, same_baseline: bool, stale: bool) -> Verdict:
    """Decide about an adapter whose training is completed.

    Args:
        eval_loss, baseline_eval_loss: on the same held-out replies, with the new adapter and with what was active when it began.
        same_baseline: whether that is still what is active.
        stale: whether something that it was trained on has been deleted meanwhile.
    """
    change = 1 - eval_loss / baseline_eval_loss if baseline_eval_loss > 0 else 0.0
    figures = f"its loss on held-out replies is {eval_loss:.3f}, of what was in use {baseline_eval_loss:.3f}"
    if change < LEAST_IMPROVEMENT:
        return Verdict(False, f"Not activated, because it is not better by {LEAST_IMPROVEMENT:.1%} or more: {figures}")
    if not same_baseline:
        return Verdict(False, "Not activated, because what is in use now is not what it was compared with; compare them and choose")
    if stale:
        return Verdict(False, "Not activated, because samples that it was trained on were deleted meanwhile; train again")
    return Verdict(True, f"Activated, because it is better by {change:.1%}: {figures}")
