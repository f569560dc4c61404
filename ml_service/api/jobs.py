"""`/generate/async`, `/generate/status/:job_id`, `/generate/cancel/:job_id`: ask now, get the answer later."""

from dataclasses import replace

from fastapi import APIRouter

from ml_service.api.documentation import errors
from ml_service.generation import GenerationService
from ml_service.jobs.generation_queue import GenerationQueue
from shared.contracts.jobs import AsyncGenerateRequest, JobAccepted, JobState
from shared.tracing import traceparent


def job_routes(service: GenerationService, queue: GenerationQueue) -> APIRouter:
    router = APIRouter(tags=["jobs"])

    @router.post("/generate/async", status_code=202, responses=errors(400, 404, 409, 413, 503))
    async def generate_async(body: AsyncGenerateRequest) -> JobAccepted:
        """Accept a generation as a job that no crash loses, and answer at once.

        The answer is found under `/generate/status`, and published on the event stream. The model may be away: the job waits for it.
        """
        await service.check(body)
        return JobAccepted(job_id=await queue.enqueue(replace(body, traceparent=body.traceparent or traceparent())), status="queued")

    @router.get("/generate/status/{job_id:path}", responses=errors(404, 503))
    async def status(job_id: str) -> JobState:
        """How far a job is; finished jobs are kept for a day."""
        return await queue.state(job_id)

    @router.post("/generate/cancel/{job_id:path}", responses=errors(404, 409, 503))
    async def cancel(job_id: str) -> JobState:
        """End a job: a waiting one never begins, a running one is aborted in the engine within a second."""
        return await queue.cancel(job_id)

    return router
