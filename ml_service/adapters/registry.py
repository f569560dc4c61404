"""Finds a scope's adapter, has it loaded into the engine that serves, and keeps it there while it is used."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import structlog

from ml_service.adapters.manifest import StoredAdapter
from ml_service.adapters.residency import Residency
from ml_service.adapters.storage import StoreAway
from ml_service.adapters.store import AdapterStore
from ml_service.engine.protocol import Adapter, AdapterRefused, Engine, LoadedModel
from ml_service.metrics import Metrics
from shared.background import BackgroundTask
from shared.errors import Conflict, NotFound

DELETE_SECONDS: Final = 5.0
"""How long a deletion is waited for while an adapter is in use; it goes on afterwards."""
CLOSE_SECONDS: Final = 5.0
PRUNE_EVERY: Final = 20
"""This machine's copies are compared with the store once in so many looks at the loaded adapters."""

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
    are asked for. A loaded adapter is served without asking the store; `start` begins to look all of them up every so often.

    Args:
        store: where adapters lie.
        capacity: how many adapters an engine holds at most.
        check_seconds: how often the loaded ones are looked up.
        metrics: counts what happens.
    """

    def __init__(self, store: AdapterStore, *, capacity: int, check_seconds: float, metrics: Metrics) -> None:
        self._store = store
        self._capacity = capacity
        self._check_seconds = check_seconds
        self._metrics = metrics
        self._numbers = itertools.count(1)
        self._residencies: dict[Engine, Residency] = {}
        self._watching = BackgroundTask("adapter registry", self._watch)
        self._deletions: set[asyncio.Task[int]] = set()

    async def find(self, model: LoadedModel, scope: str, adapter_id: str) -> StoredAdapter:
        """An adapter that this model can be used with; it need not be loaded yet.

        Raises:
            AdapterNotFound: the scope has no such adapter.
            AdapterSetAside: it belongs to another base model.
            AdapterRefused: its manifest is damaged.
            StoreAway: it is not loaded, and the store cannot be reached.
        """
        stored = self._residency(model.engine).find((scope, adapter_id))
        if stored is None:
            try:
                stored = await self._store.find(scope, adapter_id)
            except AdapterRefused:
                self._metrics.adapter_refusals.labels("damaged").inc()
                raise
        if stored is None:
            self._metrics.adapter_refusals.labels("not found").inc()
            raise AdapterNotFound("No adapter with this id")
        base_model = stored.manifest.base_model
        if base_model != model.entry.name:
            self._metrics.adapter_refusals.labels("set aside").inc()
            raise AdapterSetAside(f"This adapter was made for {base_model}, and {model.entry.name} serves; it is set aside until then")
        return stored

    @asynccontextmanager
    async def use(self, model: LoadedModel, stored: StoredAdapter) -> AsyncIterator[Adapter]:
        """The adapter, loaded, for as long as the context lasts.

        Raises:
            AdapterRefused: its files are missing, damaged or not of a kind that is served; the engine is unharmed.
            NoPlace: as many adapters are in use as the engine holds.
            EngineAway, StoreAway: one of them is away.
        """
        residency = self._residency(model.engine)
        try:
            resident = await residency.enter(stored)
        except AdapterRefused as error:
            self._metrics.adapter_refusals.labels("damaged").inc()
            log.warning("adapter refused", adapter_id=stored.manifest.adapter_id, reason=error.message)
            raise
        try:
            yield resident.loading.result()
        finally:
            residency.leave(resident)

    async def of_scope(self, scope: str) -> list[StoredAdapter]:
        """A scope's adapters, newest first."""
        return await self._store.of_scope(scope)

    def loaded(self, engine: Engine | None) -> list[StoredAdapter]:
        """What an engine holds; one that has died holds nothing, from that moment on."""
        if engine is None or not engine.alive:
            return []
        residency = self._residencies.get(engine)
        return residency.loaded if residency is not None else []

    async def delete(self, scope: str, adapter_id: str) -> int:
        """Delete an adapter: nobody finds it any more; when its last user has left, it leaves the engine, and its files go.

        Returns:
            1, or 0 if there was none.

        Raises:
            StoreAway: the store cannot be reached; ask again.
        """
        known = await self._store.withdraw(scope, adapter_id)
        leaving = [event for each in self._residencies.values() if (event := each.expel((scope, adapter_id))) is not None]

        async def remove() -> int:
            await _all_set(leaving)
            return int(await self._store.delete(scope, adapter_id))

        await self._finish(remove())
        return int(known)

    async def delete_scope(self, scope: str) -> int:
        """Delete all of a scope's adapters, as `delete` does, and whatever else the store has of it.

        Returns:
            How many there were.

        Raises:
            StoreAway: the store cannot be reached; ask again.
        """
        known = [await self._store.withdraw(scope, each.manifest.adapter_id) for each in await self._store.of_scope(scope)]
        leaving = [event for each in self._residencies.values() for event in each.expel_scope(scope)]

        async def remove() -> int:
            await _all_set(leaving)
            return await self._store.delete_scope(scope)

        await self._finish(remove())
        return sum(known)

    def start(self) -> None:
        """Begin to look up what is loaded, every so often."""
        self._watching.start()

    async def close(self) -> None:
        """Finish deletions; the engine must have been stopped before."""
        await self._watching.close()
        if self._deletions:
            await asyncio.wait(self._deletions, timeout=CLOSE_SECONDS)
        self._store.close()

    def _residency(self, engine: Engine) -> Residency:
        residency = self._residencies.get(engine)
        if residency is None:
            self._residencies = {each: held for each, held in self._residencies.items() if each.alive}
            residency = Residency(engine, self._store, self._numbers, self._capacity, self._metrics)
            self._residencies[engine] = residency
        return residency

    async def _finish(self, deletion: Coroutine[Any, Any, int]) -> None:
        """Wait for a deletion, but not for ever: it goes on by itself."""
        task = asyncio.create_task(deletion, name="delete-adapters")
        self._deletions.add(task)
        task.add_done_callback(self._deletion_ended)
        done, _ = await asyncio.wait({task}, timeout=DELETE_SECONDS)
        if done:
            task.result()

    def _deletion_ended(self, task: asyncio.Task[int]) -> None:
        self._deletions.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("adapters could not be deleted to the end", exc_info=error)

    async def _watch(self) -> None:
        for look in itertools.count(1):
            await asyncio.sleep(self._check_seconds)
            try:
                for residency in list(self._residencies.values()):
                    await self._look_up(residency)
                if look % PRUNE_EVERY == 0:
                    await self._store.prune()
            except StoreAway as error:
                log.warning("loaded adapters could not be looked up", kind=type(error).__name__)

    async def _look_up(self, residency: Residency) -> None:
        """Let go of what was deleted elsewhere."""
        for stored in residency.loaded:
            key = stored.manifest.scope, stored.manifest.adapter_id
            with suppress(AdapterRefused):  # what is loaded was good
                present = await self._store.find(*key)
                if present is None or present.name != stored.name:
                    log.info("adapter was deleted elsewhere", adapter_id=key[1])
                    residency.expel(key)


async def _all_set(events: list[asyncio.Event]) -> None:
    for event in events:
        await event.wait()
