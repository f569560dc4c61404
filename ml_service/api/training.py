"""`/training/start`, `/training/status/:job_id`, `/training/cancel/:job_id`: a personal adapter, made of samples."""

from dataclasses import replace

from fastapi import APIRouter

from ml_service.api.documentation import errors
from ml_service.jobs.training_queue import TrainingQueue, TrainingRequests
from shared.contracts.training import TrainingAccepted, TrainingRequest, TrainingState
from shared.tracing import traceparent


def training_routes(requests: TrainingRequests, queue: TrainingQueue) -> APIRouter:
    router = APIRouter(prefix="/training", tags=["training"])

    @router.post("/start", status_code=202, responses=errors(400, 409, 413, 503))
    async def start(body: TrainingRequest) -> TrainingAccepted:
        """Accept a training as a job that no crash loses, and answer at once.

        How it goes is found under `/training/status`, and published on the event stream. The body may have 32 MiB.
        """
        return TrainingAccepted(job_id=await requests.start(replace(body, traceparent=body.traceparent or traceparent())), status="queued")

    @router.get("/status/{job_id:path}", responses=errors(404, 503))
    async def status(job_id: str) -> TrainingState:
        """How far a training is; finished ones are kept for a day."""
        return await queue.state(job_id)

    @router.post("/cancel/{job_id:path}", responses=errors(404, 409, 503))
    async def cancel(job_id: str) -> TrainingState:
        """End a training: a waiting one never begins, a running one's process is gone within five seconds."""
        return await queue.cancel(job_id)

    return router
