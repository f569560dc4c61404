"""Finds a scope's adapter, has it loaded into the engine that serves, and keeps it there while it is used."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from ml_service.adapters.cache import AdapterCache
from ml_service.adapters.store import AdapterStore
from ml_service.engine.protocol import Adapter, AdapterRefused, Engine, LoadedModel
from ml_service.metrics import Metrics
from shared.adapter_store.manifest import Manifest
from shared.adapter_store.storage import StoreAway
from shared.background import BackgroundTask
from shared.errors import Conflict, NotFound

DELETE_SECONDS: Final = 5.0
"""How long a deletion is waited for while an adapter is in use; it goes on afterwards."""
CLOSE_SECONDS: Final = 5.0
PRUNE_EVERY: Final = 20
"""This machine's copies are compared with the store once in so many checks of the loaded adapters."""

log = structlog.get_logger(__name__)


class AdapterNotFound(NotFound):
    """This scope has no adapter with this id."""


class AdapterSetAside(Conflict):
    """The adapter was made for another base model than the one that serves, and waits for it."""


UNUSABLE: Final = (AdapterNotFound, AdapterSetAside, AdapterRefused)
"""Why a request's adapter cannot be used, whenever that is asked again."""


class AdapterRegistry:
    """Every replica has one, and all have the store in common.

    What an engine holds is bound to that engine: after another model was loaded, or a dead engine replaced, adapters come in anew as they
    are asked for. A loaded adapter is served without asking the store; `start` begins to look all of them up every `check_seconds`.
    """

    def __init__(self, store: AdapterStore, *, capacity: int, check_seconds: float, metrics: Metrics) -> None:
        self._store = store
        self._capacity = capacity
        self._check_seconds = check_seconds
        self._metrics = metrics
        self._numbers = itertools.count(1)
        self._caches: dict[Engine, AdapterCache] = {}
        self._checking = BackgroundTask("adapter registry", self._check)
        self._deletions: set[asyncio.Task[None]] = set()

    async def find(self, model: LoadedModel, scope: str, adapter_id: str) -> Manifest:
        """An adapter that this model can be used with; it need not be loaded yet.

        Raises:
            AdapterNotFound: the scope has no such adapter.
            AdapterSetAside: it belongs to another base model.
            AdapterRefused: its manifest is damaged.
            StoreAway: it is not loaded, and the store cannot be reached.
        """
        stored = self._cache(model.engine).find((scope, adapter_id))
        if stored is None:
            try:
                stored = await self._store.find(scope, adapter_id)
            except AdapterRefused:
                self._metrics.adapter_refusals.labels("damaged").inc()
                raise
        if stored is None:
            self._metrics.adapter_refusals.labels("not found").inc()
            raise AdapterNotFound("No adapter with this id")
        base_model = stored.base_model
        if base_model != model.entry.name:
            self._metrics.adapter_refusals.labels("set aside").inc()
            raise AdapterSetAside(f"This adapter was made for {base_model}, and {model.entry.name} serves; it is set aside until then")
        return stored

    @asynccontextmanager
    async def use(self, model: LoadedModel, stored: Manifest) -> AsyncIterator[Adapter]:
        """The adapter, loaded, for as long as the context lasts.

        Raises:
            AdapterRefused: its files are missing, damaged or not of a kind that is served; the engine is unharmed.
            NoPlace: as many adapters are in use as the engine holds.
            EngineAway, StoreAway: one of them is away.
        """
        try:
            async with self._cache(model.engine).use(stored) as adapter:
                yield adapter
        except AdapterRefused as error:
            self._metrics.adapter_refusals.labels("damaged").inc()
            log.warning("adapter refused", adapter_id=stored.adapter_id, reason=error.message)
            raise

    async def of_scope(self, scope: str) -> list[Manifest]:
        """A scope's adapters, newest first."""
        return await self._store.of_scope(scope)

    def loaded(self, engine: Engine | None) -> list[Manifest]:
        """What an engine holds; one that has died holds nothing, from that moment on."""
        if engine is None or not engine.alive or engine not in self._caches:
            return []
        return self._caches[engine].loaded

    async def delete(self, scope: str, adapter_id: str) -> bool:
        """Delete an adapter: nobody finds it any more; when its last user has left, it leaves the engine, and its files go. False if there
        was none.

        Raises:
            StoreAway: the store cannot be reached; ask again.
        """
        known = await self._store.withdraw(scope, adapter_id)
        await self._delete(scope, adapter_id)
        return known

    async def delete_scope(self, scope: str) -> None:
        """Delete all of a scope's adapters, as `delete` does, and whatever else the store has of it.

        Raises:
            StoreAway: the store cannot be reached; ask again.
        """
        for stored in await self._store.of_scope(scope):
            await self._store.withdraw(*stored.key)
        await self._delete(scope)

    def start(self) -> None:
        """Begin to look up what is loaded, every so often."""
        self._checking.start()

    async def close(self) -> None:
        """Finish deletions; the engine must have been stopped before."""
        await self._checking.close()
        if self._deletions:
            await asyncio.wait(self._deletions, timeout=CLOSE_SECONDS)
        self._store.close()

    def _cache(self, engine: Engine) -> AdapterCache:
        if engine not in self._caches:
            self._caches = {each: cache for each, cache in self._caches.items() if each.alive}
            self._caches[engine] = AdapterCache(engine, self._store, self._numbers, self._capacity, self._metrics)
        return self._caches[engine]

    async def _delete(self, scope: str, adapter_id: str | None = None) -> None:
        """Remove files once nobody uses them. That is waited for, but not for ever: it goes on by itself."""
        evictions = [task for cache in self._caches.values() for task in cache.evict(scope, adapter_id)]

        async def remove() -> None:
            await asyncio.gather(*evictions)
            if adapter_id is not None:
                await self._store.delete(scope, adapter_id)
            else:
                await self._store.delete_scope(scope)

        task = asyncio.create_task(remove(), name="delete-adapters")
        self._deletions.add(task)
        task.add_done_callback(self._deletion_ended)
        done, _ = await asyncio.wait({task}, timeout=DELETE_SECONDS)
        if done:
            task.result()

    def _deletion_ended(self, task: asyncio.Task[None]) -> None:
        self._deletions.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("adapters could not be deleted to the end", exc_info=error)

    async def _check(self) -> None:
        """Let go of what was deleted elsewhere, for as long as the service runs."""
        for number in itertools.count(1):
            await asyncio.sleep(self._check_seconds)
            try:
                for cache in list(self._caches.values()):
                    for stored in cache.loaded:
                        if await self._was_deleted(stored):
                            log.info("adapter was deleted elsewhere", adapter_id=stored.adapter_id)
                            cache.evict(*stored.key)
                if number % PRUNE_EVERY == 0:
                    await self._store.prune()
            except StoreAway as error:
                log.warning("loaded adapters could not be looked up", kind=type(error).__name__)

    async def _was_deleted(self, stored: Manifest) -> bool:
        try:
            present = await self._store.find(*stored.key)
        except AdapterRefused:  # what is loaded was good
            return False
        return present is None or present.name != stored.name
