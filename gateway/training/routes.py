from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from gateway.auth.authentication import Caller
from gateway.http.openapi import errors
from gateway.http.parameters import PageQuery, PageSizeQuery
from gateway.idempotency.middleware import IDEMPOTENT
from gateway.training import report
from gateway.training.schemas import TrainingComparison, TrainingJobAnswer, TrainingJobPage, TrainingStart
from gateway.training.service import TrainingService


class TrainingController(Controller):
    path = "/api/training"
    tags = ("training",)

    @post("/start", summary="Start a training", opt=IDEMPOTENT, responses=errors(400, 401, 403, 409, 413, 422, 429, 503))
    async def start(
        self, principal: Caller, trainings: NamedDependency[TrainingService], data: JSONBody[TrainingStart]
    ) -> TrainingJobAnswer:
        """Trains a personal adapter in the background: follow it with `GET /api/training/jobs/:id` or `/api/events`. 409 while the device
        has a training that has not ended. The adapter comes into use by itself if it does better on held-out samples than what is in use.
        429 if the account has as many adapters as it may, or has trained for as long within a day.
        """
        return TrainingJobAnswer(job=await trainings.start(principal, data))

    @get("/jobs", summary="List training jobs", responses=errors(400, 401, 403, 503))
    async def list(
        self, principal: Caller, trainings: NamedDependency[TrainingService], page: PageQuery = 1, page_size: PageSizeQuery = 20
    ) -> TrainingJobPage:
        """All of the account's, newest first."""
        return await trainings.list(principal.account_id, page, page_size)

    @get("/jobs/{job_id:uuid}", summary="Get a training job", responses=errors(400, 401, 403, 404, 503))
    async def read(self, principal: Caller, trainings: NamedDependency[TrainingService], job_id: FromPath[UUID]) -> TrainingJobAnswer:
        """How far it is, and what came of it."""
        return TrainingJobAnswer(job=await trainings.get(principal.account_id, job_id))

    @get(
        "/jobs/{job_id:uuid}/report",
        summary="Read a training job's report",
        media_type="text/html",
        responses=errors(400, 401, 403, 404, 503),
    )
    async def report(self, principal: Caller, trainings: NamedDependency[TrainingService], job_id: FromPath[UUID]) -> Response[str]:
        """One HTML page that needs nothing else: the loss curve, the comparison on held-out samples, and drafts before and after. It has
        text of people in it: samples that are deleted disappear from it.
        """
        page = report.render(await trainings.report(principal.account_id, job_id))
        return Response(page, media_type="text/html", headers=report.HEADERS)

    @get("/jobs/{job_id:uuid}/comparison", summary="Compare drafts before and after a training", responses=errors(400, 401, 403, 404, 503))
    async def comparison(
        self, principal: Caller, trainings: NamedDependency[TrainingService], job_id: FromPath[UUID]
    ) -> TrainingComparison:
        """What the report shows beside the job, for clients with a page of their own: drafts of held-out messages. It has text of people in
        it: samples that are deleted disappear from it.
        """
        return await trainings.comparison(principal.account_id, job_id)

    @post("/jobs/{job_id:uuid}/cancel", status_code=200, summary="Cancel a training", responses=errors(400, 401, 403, 404, 409, 503))
    async def cancel(self, principal: Caller, trainings: NamedDependency[TrainingService], job_id: FromPath[UUID]) -> TrainingJobAnswer:
        """The trainer ends within 5 seconds; the device may start another training at once. 409 if it has ended already."""
        return TrainingJobAnswer(job=await trainings.cancel(principal.account_id, job_id))
