"""The adapters that one engine holds: each is loaded once, stays while it is used, and the least recently used one makes room."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from ml_service.adapters.store import AdapterStore
from ml_service.engine.protocol import Adapter, Engine, EngineAway
from ml_service.metrics import Metrics
from shared.adapter_store.manifest import Manifest
from shared.errors import Unavailable

PLACE_SECONDS: Final = 30.0
"""How long a request waits while all places are taken by adapters in use."""
REMOVE_AGAIN_SECONDS: Final = 0.5

Key = tuple[str, str]
"""Scope and adapter id."""

log = structlog.get_logger(__name__)


class NoPlace(Unavailable):
    """Every adapter that the engine holds is in use."""


@dataclass(slots=True, eq=False)
class _Entry:
    """One adapter in the engine, or on its way in or out."""

    stored: Manifest
    loading: asyncio.Task[Adapter] = field(init=False)
    users: int = 0
    eviction: asyncio.Task[None] | None = None
    """Once there is one, nobody may begin to use it."""

    @property
    def key(self) -> Key:
        return self.stored.key

    @property
    def is_loaded(self) -> bool:
        return self.loading.done() and not self.loading.cancelled() and self.loading.exception() is None


class AdapterCache:
    """The adapters in one engine, at most `capacity`. Belongs to one event loop; between two awaits nothing else happens, so there are no
    locks. The `numbers` that the engine is given for adapters never come twice in a process.
    """

    def __init__(self, engine: Engine, store: AdapterStore, numbers: "itertools.count[int]", capacity: int, metrics: Metrics) -> None:
        self._engine = engine
        self._store = store
        self._numbers = numbers
        self._capacity = capacity
        self._metrics = metrics
        self._entries: dict[Key, _Entry] = {}
        """The least recently used one first."""
        self._changed = asyncio.Event()

    @property
    def loaded(self) -> list[Manifest]:
        """The adapters that can be used at once."""
        return [each.stored for each in self._entries.values() if each.is_loaded and each.eviction is None]

    def find(self, key: Key) -> Manifest | None:
        """An adapter that is here, or on its way in."""
        entry = self._entries.get(key)
        return entry.stored if entry is not None and entry.eviction is None else None

    @asynccontextmanager
    async def use(self, stored: Manifest) -> AsyncIterator[Adapter]:
        """Have an adapter loaded, and keep it for as long as the context lasts.

        Raises:
            AdapterRefused: it cannot be used.
            NoPlace: there was no room for it in time.
            EngineAway, StoreAway: one of them is away.
        """
        entry = await self._entry(stored)
        entry.users += 1
        self._entries[entry.key] = self._entries.pop(entry.key)  # now the most recently used
        try:
            yield await asyncio.shield(entry.loading)
        finally:
            entry.users -= 1
            self._notify()

    def evict(self, scope: str, adapter_id: str | None = None) -> list[asyncio.Task[None]]:
        """Let nobody begin to use an adapter, or any of a scope. The tasks end when the last users have left and it has left the engine."""
        entries = [each for each in self._entries.values() if each.key[0] == scope and adapter_id in (None, each.key[1])]
        return [self._evict(each) for each in entries]

    async def _entry(self, stored: Manifest) -> _Entry:
        """The adapter's place, new or old; waits for one."""
        give_up = time.monotonic() + PLACE_SECONDS
        while True:
            entry = self._entries.get(stored.key)
            if entry is not None and entry.stored.name != stored.name:
                self._evict(entry)  # deleted, and published anew under the same id
            elif entry is not None and entry.eviction is None:
                return entry
            elif entry is None:
                if len(self._entries) < self._capacity:
                    return self._begin(stored, None)
                victim = self._least_recently_used()
                if victim is not None:
                    del self._entries[victim.key]
                    return self._begin(stored, victim)
            try:
                async with asyncio.timeout(give_up - time.monotonic()):
                    await self._changed.wait()
            except TimeoutError:
                self._metrics.adapter_refusals.labels("no place").inc()
                raise NoPlace("As many adapters are in use as the engine holds (MAX_LOADED_ADAPTERS); try again soon") from None

    def _least_recently_used(self) -> _Entry | None:
        """Of those that nobody uses."""
        return next((each for each in self._entries.values() if each.users == 0 and each.eviction is None and each.loading.done()), None)

    def _begin(self, stored: Manifest, victim: _Entry | None) -> _Entry:
        entry = _Entry(stored)
        entry.loading = asyncio.create_task(self._load(entry, victim), name="load-adapter")
        self._entries[entry.key] = entry
        return entry

    async def _load(self, entry: _Entry, victim: _Entry | None) -> Adapter:
        began = time.monotonic()
        try:
            if victim is not None:
                self._metrics.adapter_evictions.inc()
                await self._evict(victim)
            folder = await self._store.folder(entry.stored)
            adapter = Adapter(name=entry.stored.name, number=next(self._numbers), path=str(folder))
            try:
                await self._engine.add_adapter(adapter)
            except EngineAway:
                raise
            except BaseException:
                await self._remove(adapter)  # the engine may have begun with it
                raise
        except BaseException:
            self._forget(entry)
            raise
        self._notify()
        seconds = time.monotonic() - began
        self._metrics.adapter_load_seconds.observe(seconds)
        log.info("adapter loaded", adapter_id=entry.stored.adapter_id, milliseconds=round(seconds * 1000, 1))
        return adapter

    def _evict(self, entry: _Entry) -> asyncio.Task[None]:
        if entry.eviction is None:
            entry.eviction = asyncio.create_task(self._unload(entry), name="evict-adapter")
        return entry.eviction

    async def _unload(self, entry: _Entry) -> None:
        while entry.users:
            await self._changed.wait()
        await asyncio.wait([entry.loading])
        if entry.is_loaded:
            await self._remove(entry.loading.result())
        self._forget(entry)

    async def _remove(self, adapter: Adapter) -> None:
        while self._engine.alive:
            try:
                await self._engine.remove_adapter(adapter)
            except EngineAway:  # asleep, or dying
                await asyncio.sleep(REMOVE_AGAIN_SECONDS)
            except Exception as error:  # its place is free all the same: numbers are never used twice, and vLLM makes room by itself
                log.error("adapter could not be removed from the engine", adapter=adapter.number, exc_info=error)
                return
            else:
                return

    def _forget(self, entry: _Entry) -> None:
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
        self._notify()

    def _notify(self) -> None:
        """Whoever waits looks again; who waits from now on waits for the next time."""
        self._changed.set()
        self._changed = asyncio.Event()
