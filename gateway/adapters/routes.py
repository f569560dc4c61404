from uuid import UUID

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.adapters.schemas import AdapterAnswer, AdapterList, MaybeAdapterAnswer
from gateway.adapters.service import AdapterService
from gateway.auth.authentication import Caller
from gateway.http.openapi import errors


class AdapterController(Controller):
    path = "/api/training/adapters"
    tags = ("training",)

    @get("/", summary="List adapters", responses=errors(401, 403, 503))
    async def list(self, principal: Caller, adapters: NamedDependency[AdapterService]) -> AdapterList:
        """All that the account has trained, newest first."""
        return AdapterList(adapters=await adapters.list(principal.account_id))

    @post("/{adapter_id:uuid}/activate", status_code=200, summary="Use an adapter", responses=errors(400, 401, 403, 404, 409, 503))
    async def activate(self, principal: Caller, adapters: NamedDependency[AdapterService], adapter_id: FromPath[UUID]) -> AdapterAnswer:
        """Drafts are written with it from now on, whatever its figures say; also the way back. 409 if its files are gone."""
        return AdapterAnswer(adapter=await adapters.activate(principal.account_id, adapter_id))

    @post("/deactivate", status_code=200, summary="Use the base model", responses=errors(401, 403, 503))
    async def deactivate(self, principal: Caller, adapters: NamedDependency[AdapterService]) -> MaybeAdapterAnswer:
        """Drafts are written without an adapter from now on. The answer is the adapter that was active, or null."""
        return MaybeAdapterAnswer(adapter=await adapters.deactivate(principal.account_id))

    @delete("/{adapter_id:uuid}", summary="Delete an adapter", responses=errors(400, 401, 403, 404, 503))
    async def delete(self, principal: Caller, adapters: NamedDependency[AdapterService], adapter_id: FromPath[UUID]) -> None:
        """For good, with its files. If it is active, drafts are written with the base model from then on."""
        await adapters.delete(principal.account_id, adapter_id)
