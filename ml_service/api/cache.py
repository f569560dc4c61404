"""`DELETE /cache`: forget cached answers."""

from typing import Annotated

from fastapi import APIRouter, Query

from ml_service.api.documentation import errors
from ml_service.cache.response_cache import ResponseCache
from shared.contracts.names import is_name
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
        scope = pattern.removesuffix(":*")
        if scope != pattern and is_name(scope):
            return CacheInvalidation(invalidated=await cache.forget(scope))
        return CacheInvalidation(invalidated=await cache.invalidate(pattern))

    return router
