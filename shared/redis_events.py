"""How the ML service tells the gateway what became of jobs: a Redis Stream for each queue, read with a consumer group.

An entry has one field, `event`, that holds a `JobEvent`, or on the training stream a `TrainingEvent`, as JSON; it may have further fields.
A job's state and its event are written in one transaction, so neither is there without the other. Delivery is at least once: readers must
not mind an event that they have seen.
"""

from dataclasses import dataclass
from typing import Final, Literal

from shared.contracts.generation import GenerateResponse
from shared.contracts.training import TrainingState

JOB_EVENTS: Final = "events:jobs"
"""The key of the stream about generations."""
TRAINING_EVENTS: Final = "events:training"
"""The key of the stream about training."""
JOB_EVENTS_GROUP: Final = "gateway"
"""The gateways' consumer group: each event is handled by one of them."""
EVENT_FIELD: Final = "event"
JOB_EVENTS_LENGTH: Final = 100_000
"""About how many entries are kept; those that every reader has handled are of no more use."""
TRAINING_EVENTS_LENGTH: Final = 2_000
"""Each is a whole state, so old ones are of little use."""

JobEventType = Literal["generating", "token", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """Something happened to a job. `scope` is whose it is (the account).

    `result` comes with `completed`; `error`, a sentence for people, with `failed`; `text`, its `index` and `sequence` with `token`. Tokens
    are published only if the job asked for it, and are the one thing that may get lost: `sequence` counts them from 0. `generating` comes
    again when a job is begun anew, on another worker or after the engine was away: its text and `sequence`, too, then begin anew.
    `completed`, `failed` or `cancelled` is written once and last.
    """

    type: JobEventType
    job_id: str
    scope: str
    result: GenerateResponse | None = None
    error: str | None = None
    text: str | None = None
    index: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEvent:
    """How far a training job is now: the whole state, so that the last event read makes up for any that were missed.

    `scope` is whose job it is (the account). States of one job come in order, but those of a run that was taken for dead may come late:
    once a job is completed, failed or cancelled, nothing that comes after counts.
    """

    scope: str
    state: TrainingState
