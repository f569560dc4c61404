from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from gateway.auth.authentication import Caller
from gateway.http.openapi import errors
from gateway.http.parameters import PageQuery, PageSizeQuery
from gateway.samples.history_import import HistoryImportService
from gateway.samples.schemas import HistoryImport, ImportedHistory, SamplePage, SampleSource
from gateway.samples.service import SampleService

SourceQuery = Annotated[SampleSource | None, QueryParameter(name="source", description="Only samples that came so.")]


class SampleController(Controller):
    path = "/api/training/samples"
    tags = ("training",)

    @get("/", summary="List samples", responses=errors(400, 401, 403, 503))
    async def list(
        self,
        principal: Caller,
        samples: NamedDependency[SampleService],
        source: SourceQuery = None,
        page: PageQuery = 1,
        page_size: PageSizeQuery = 20,
    ) -> SamplePage:
        """What was learnt from accepting, editing and rejecting drafts, and from the owner's past replies; newest first."""
        return await samples.list(principal.account_id, source, page, page_size)

    @post(
        "/import", summary="Import past replies as samples", status_code=200, responses=errors(400, 401, 403, 404, 409, 413, 422, 429, 503)
    )
    async def import_history(
        self, principal: Caller, history_import: NamedDependency[HistoryImportService], data: JSONBody[HistoryImport]
    ) -> ImportedHistory:
        """Makes samples of the owner's own replies, so that drafts sound like the owner at once. Again, it adds only what is new.
        With `preview` it stores nothing and gives the figures that it would.
        """
        return await history_import.run(principal.account_id, data)

    @delete("/{sample_id:uuid}", summary="Delete a sample", responses=errors(400, 401, 403, 404, 503))
    async def delete(self, principal: Caller, samples: NamedDependency[SampleService], sample_id: FromPath[UUID]) -> None:
        """It is not trained with any more. Adapters that were trained with it say `stale`: train anew, and delete them."""
        await samples.delete(principal.account_id, sample_id)
