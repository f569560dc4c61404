"""`/adapters`: which personal adapters a scope has, and their end."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from ml_service.adapters.registry import AdapterNotFound, AdapterRegistry
from ml_service.api.documentation import errors
from ml_service.engine.supervisor import EngineSupervisor
from shared.adapter_store.manifest import Manifest
from shared.contracts.adapters import AdapterInfo, AdapterList, AdaptersDeleted
from shared.contracts.names import BASE_SCOPE, AdapterId, Scope

OfScope = Annotated[Scope, Query(description="Whose adapters.")]
WithId = Annotated[AdapterId, Path(description="The adapter's id.")]


def adapter_routes(supervisor: EngineSupervisor, adapters: AdapterRegistry) -> APIRouter:
    router = APIRouter(tags=["adapters"])

    @router.get("/adapters", responses=errors(400, 503))
    async def of_scope(scope: OfScope = BASE_SCOPE) -> AdapterList:
        """A scope's adapters, newest first; `loaded` speaks of the replica that answers."""
        loaded = {each.name for each in adapters.loaded(supervisor.engine)}
        return AdapterList(adapters=[describe(each, loaded) for each in await adapters.of_scope(scope)])

    @router.delete("/adapters/{adapter_id}", responses=errors(400, 404, 503))
    async def delete(adapter_id: WithId, scope: OfScope = BASE_SCOPE) -> AdaptersDeleted:
        """Delete an adapter: no request finds it any more, its files go when the answers being made with it have ended."""
        if not await adapters.delete(scope, adapter_id):
            raise AdapterNotFound("No adapter with this id")
        return AdaptersDeleted(deleted=1)

    def describe(manifest: Manifest, loaded: set[str]) -> AdapterInfo:
        return AdapterInfo(
            adapter_id=manifest.adapter_id,
            scope=manifest.scope,
            base_model=manifest.base_model,
            rank=manifest.rank,
            size_bytes=manifest.size_bytes,
            created_at=manifest.created_at,
            status="ready" if manifest.base_model == supervisor.entry.name else "set_aside",
            loaded=manifest.name in loaded,
        )

    return router
