"""What the account's readers are told of training jobs: `training:*` with the job as `GET /api/training/jobs/:id` has it."""

from typing import Final

import msgspec
from asyncpg import Record

from gateway.events.schemas import EventType
from gateway.training.schemas import ReportedJob, TrainingJob
from shared.contracts.training import DraftComparison, LossPoint

ENDED: Final = frozenset({"completed", "failed", "cancelled"})

_JOB = tuple(field.name for field in msgspec.structs.fields(TrainingJob))


def job_of(row: Record) -> TrainingJob:
    """A job as the database has it (`queries.DETAILS`)."""
    return TrainingJob(**{**{name: row[name] for name in _JOB}, "history": msgspec.convert(row["history"], list[LossPoint])})


def reported_job_of(row: Record) -> ReportedJob:
    """A job as `queries.report` gives it."""
    return ReportedJob(
        **{name: getattr(job_of(row), name) for name in _JOB},
        eval_samples=row["eval_samples"],
        had_baseline=row["had_baseline"],
        comparisons=msgspec.convert(row["comparisons"], list[DraftComparison]),
    )


def event_type_of(job: TrainingJob) -> EventType:
    match job.status:
        case "completed":
            return "training:completed"
        case "failed":
            return "training:failed"
        case "cancelled":
            return "training:cancelled"
        case "queued" | "training" | "evaluating":
            return "training:progress"


def once_key(job: TrainingJob) -> str:
    """Under which a job's end is published: several gateways may get to know of it."""
    return f"{job.id}:{job.status}"
