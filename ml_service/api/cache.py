"""`DELETE /cache`: forget cached answers."""

from typing import Annotated

from fastapi import APIRouter, Query

from ml_service.api.documentation import errors
from ml_service.cache.response_cache import ResponseCache
from shared.contracts.service import CacheInvalidation


def cache_routes(cache: ResponseCache) -> APIRouter:
    router = APIRouter(tags=["cache"])

    @router.delete("/cache", responses=errors(400, 503))
    async def invalidate(
        pattern: Annotated[
            str, Query(min_length=1, max_length=500, description="Glob over `<scope>:<digest>`; `<scope>:*` is one scope.")
        ] = "*",
    ) -> CacheInvalidation:
        """Drop cached answers whose key matches; nothing outside the cache is ever touched."""
        return CacheInvalidation(invalidated=await cache.invalidate(pattern))

    return router
