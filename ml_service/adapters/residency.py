"""Which adapters one engine holds: each is loaded once, stays while it is used, and the least recently used one makes room."""

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import Final

import structlog

from ml_service.adapters.manifest import StoredAdapter
from ml_service.adapters.store import AdapterStore
from ml_service.engine.protocol import Adapter, Engine, EngineAway
from ml_service.metrics import Metrics
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
class Resident:
    """One adapter in an engine, or on its way in or out."""

    stored: StoredAdapter
    loading: asyncio.Task[Adapter]
    users: int = 0
    leaving: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> Key:
        return self.stored.manifest.scope, self.stored.manifest.adapter_id


class Residency:
    """The adapters in one engine. Belongs to one event loop; between two awaits nothing else happens, so there are no locks.

    Args:
        engine: holds them.
        store: where their files come from.
        numbers: the engine's own numbers for adapters; none comes twice in a process.
        capacity: how many it holds at most.
        metrics: counts what happens.
    """

    def __init__(self, engine: Engine, store: AdapterStore, numbers: "itertools.count[int]", capacity: int, metrics: Metrics) -> None:
        self._engine = engine
        self._store = store
        self._numbers = numbers
        self._capacity = capacity
        self._metrics = metrics
        self._residents: dict[Key, Resident] = {}
        """The least recently used one first; those that leave are among them until the engine has let go of them."""
        self._changed = asyncio.Event()
        self._removals: set[asyncio.Task[None]] = set()

    @property
    def loaded(self) -> list[StoredAdapter]:
        """The adapters that can be used at once."""
        return [each.stored for each in self._residents.values() if _is_loaded(each) and not each.leaving]

    def find(self, key: Key) -> StoredAdapter | None:
        """An adapter that is here, or on its way in."""
        resident = self._residents.get(key)
        return resident.stored if resident is not None and not resident.leaving else None

    async def enter(self, stored: StoredAdapter) -> Resident:
        """Have an adapter loaded and keep it until `leave`.

        Raises:
            AdapterRefused: it cannot be used.
            NoPlace: there was no room for it in time.
            EngineAway, StoreAway: one of them is away.
        """
        resident = await self._resident(stored)
        resident.users += 1
        self._residents[resident.key] = self._residents.pop(resident.key)  # now the most recently used
        try:
            await asyncio.shield(resident.loading)
        except BaseException:
            self.leave(resident)
            raise
        return resident

    def leave(self, resident: Resident) -> None:
        """Use it no longer."""
        resident.users -= 1
        if resident.users == 0:
            if resident.leaving:
                self._remove_soon(resident)
            self._tell()

    def expel(self, key: Key) -> asyncio.Event | None:
        """Let nobody enter an adapter again, and remove it when its last user has left; the event tells when it is gone."""
        resident = self._residents.get(key)
        if resident is None:
            return None
        if not resident.leaving:
            resident.leaving = True
            if resident.users == 0:
                self._remove_soon(resident)
        return resident.gone

    def expel_scope(self, scope: str) -> list[asyncio.Event]:
        """As `expel`, all of a scope."""
        return [event for key in list(self._residents) if key[0] == scope and (event := self.expel(key)) is not None]

    async def _resident(self, stored: StoredAdapter) -> Resident:
        """The adapter's place, new or old; waits for one."""
        key = (stored.manifest.scope, stored.manifest.adapter_id)
        give_up = time.monotonic() + PLACE_SECONDS
        while True:
            resident = self._residents.get(key)
            if resident is not None and resident.stored.name != stored.name:
                self.expel(key)  # deleted, and published anew under the same id
            elif resident is not None and not resident.leaving:
                return resident
            elif resident is None:
                if len(self._residents) < self._capacity:
                    return self._begin(stored, None)
                idle = self._least_recently_used()
                if idle is not None:
                    del self._residents[idle.key]
                    return self._begin(stored, idle)
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), give_up - time.monotonic())
            except TimeoutError:
                self._metrics.adapter_refusals.labels("no place").inc()
                raise NoPlace("As many adapters are in use as the engine holds (MAX_LOADED_ADAPTERS); try again soon") from None

    def _least_recently_used(self) -> Resident | None:
        """Of those that nobody uses."""
        return next((each for each in self._residents.values() if each.users == 0 and not each.leaving and each.loading.done()), None)

    def _begin(self, stored: StoredAdapter, victim: Resident | None) -> Resident:
        resident = Resident(stored, asyncio.create_task(self._load(stored, victim), name="load-adapter"))
        self._residents[resident.key] = resident
        resident.loading.add_done_callback(lambda task: self._loaded(resident, task))
        return resident

    def _loaded(self, resident: Resident, task: asyncio.Task[Adapter]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._forget(resident)
        else:
            self._tell()

    async def _load(self, stored: StoredAdapter, victim: Resident | None) -> Adapter:
        started = time.monotonic()
        if victim is not None:
            self._metrics.adapter_evictions.inc()
            await self._remove(victim)
            victim.gone.set()
        folder = await self._store.folder(stored)
        adapter = Adapter(name=stored.name, number=next(self._numbers), path=str(folder))
        try:
            await self._engine.add_adapter(adapter)
        except EngineAway:
            raise
        except BaseException:
            await self._remove_adapter(adapter)  # the engine may have begun with it
            raise
        seconds = time.monotonic() - started
        self._metrics.adapter_loads.inc()
        self._metrics.adapter_load_seconds.observe(seconds)
        log.info("adapter loaded", adapter_id=stored.manifest.adapter_id, milliseconds=round(seconds * 1000, 1))
        return adapter

    def _remove_soon(self, resident: Resident) -> None:
        async def remove() -> None:
            await self._remove(resident)
            self._forget(resident)

        task = asyncio.create_task(remove(), name="remove-adapter")
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)

    async def _remove(self, resident: Resident) -> None:
        await asyncio.wait([resident.loading])
        if _is_loaded(resident):
            await self._remove_adapter(resident.loading.result())

    async def _remove_adapter(self, adapter: Adapter) -> None:
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

    def _forget(self, resident: Resident) -> None:
        if self._residents.get(resident.key) is resident:
            del self._residents[resident.key]
        resident.gone.set()
        self._tell()

    def _tell(self) -> None:
        """Whoever waits for a place looks again."""
        self._changed.set()


def _is_loaded(resident: Resident) -> bool:
    loading = resident.loading
    return loading.done() and not loading.cancelled() and loading.exception() is None
