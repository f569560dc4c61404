"""Which adapters an engine holds: loaded once, kept while used, the least recently used one makes room."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from ml_service.adapters import cache
from ml_service.adapters.cache import NoPlace
from ml_service.adapters.registry import AdapterNotFound, AdapterRegistry, AdapterSetAside
from ml_service.adapters.store import AdapterStore
from ml_service.engine.protocol import Adapter, AdapterRefused, EngineAway, LoadedModel
from ml_service.engine.scripted_engine import ScriptedEngine, ScriptedRenderer
from ml_service.metrics import Metrics
from ml_service.models.catalogue import builtin_catalogue
from shared.adapter_store.manifest import WEIGHTS, Manifest
from shared.adapter_store.storage import FolderStorage
from tests.fixtures.loras import BASE, random_tensors, write_lora
from tests.fixtures.waiting import PATIENCE_SECONDS, until
from tests.ml_service.adapters.conftest import store_on

pytestmark = pytest.mark.anyio

ENTRY = builtin_catalogue()[BASE]
CAPACITY = 3


class SlowEngine(ScriptedEngine):
    """Takes its time to load, and remembers what it was told to do."""

    def __init__(self) -> None:
        super().__init__()
        self.added: list[Adapter] = []
        self.most = 0

    async def add_adapter(self, adapter: Adapter) -> None:
        await asyncio.sleep(0.01)
        await super().add_adapter(adapter)
        self.added.append(adapter)
        self.most = max(self.most, len(self.adapters))


def loaded_model(engine: ScriptedEngine, name: str = BASE) -> LoadedModel:
    return LoadedModel(entry=msgspec.structs.replace(ENTRY, name=name), engine=engine, renderer=ScriptedRenderer())


@pytest.fixture
def engine() -> SlowEngine:
    return SlowEngine()


@pytest.fixture
def model(engine: SlowEngine) -> LoadedModel:
    return loaded_model(engine)


@asynccontextmanager
async def registry_on(store: AdapterStore, check_seconds: float = 3600) -> AsyncIterator[AdapterRegistry]:
    registry = AdapterRegistry(store, capacity=CAPACITY, check_seconds=check_seconds, metrics=Metrics())
    registry.start()
    yield registry
    await registry.close()


@pytest.fixture
async def registry(store: AdapterStore) -> AsyncIterator[AdapterRegistry]:
    async with registry_on(store) as registry:
        yield registry


async def publish(store: AdapterStore, lora: Path, *adapter_ids: str, scope: str = "ana") -> None:
    for adapter_id in adapter_ids:
        await store.publish(lora, scope=scope, adapter_id=adapter_id, base_model=BASE)


async def use(registry: AdapterRegistry, model: LoadedModel, adapter_id: str, scope: str = "ana") -> Adapter:
    """Enter an adapter and leave it at once."""
    async with registry.use(model, await registry.find(model, scope, adapter_id)) as adapter:
        assert adapter.name in model.engine.adapters  # type: ignore[attr-defined]
        return adapter


def names(registry: AdapterRegistry, model: LoadedModel) -> set[str]:
    return {each.adapter_id for each in registry.loaded(model.engine)}


async def until_gone(engine: ScriptedEngine) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while engine.adapters:
            await asyncio.sleep(0.01)


async def test_it_is_loaded_once_however_many_want_it(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine
) -> None:
    await publish(store, lora, "a")
    adapters = await asyncio.gather(*(use(registry, model, "a") for _ in range(10)))
    assert len(engine.added) == 1
    assert set(adapters) == set(engine.added)


async def test_who_leaves_while_it_loads_does_not_take_it_from_others(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine
) -> None:
    await publish(store, lora, "a")
    first = asyncio.create_task(use(registry, model, "a"))
    await asyncio.sleep(0.005)
    second = asyncio.create_task(use(registry, model, "a"))
    first.cancel()
    assert await second in engine.added
    assert len(engine.added) == 1


async def test_an_engine_that_has_died_holds_nothing(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine
) -> None:
    """At once, and not only when it is replaced: health may be asked in between."""
    await publish(store, lora, "a")
    await use(registry, model, "a")
    assert names(registry, model) == {"a"}
    engine.kill()
    assert names(registry, model) == set()


async def test_the_least_recently_used_one_makes_room(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine
) -> None:
    await publish(store, lora, "a", "b", "c", "d")
    for adapter_id in ("a", "b", "c", "a", "d"):
        await use(registry, model, adapter_id)
    assert names(registry, model) == {"a", "c", "d"}
    assert len(engine.adapters) == CAPACITY
    again = await use(registry, model, "b")
    numbers = [adapter.number for adapter in engine.added]
    assert len(set(numbers)) == len(numbers)  # "b" came back under a new number
    assert again.number == max(numbers)
    assert engine.most == CAPACITY


async def test_one_that_is_used_is_never_evicted(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(store, lora, "a", "b", "c", "d")
    async with (
        registry.use(model, await registry.find(model, "ana", "a")),
        registry.use(model, await registry.find(model, "ana", "b")),
    ):
        async with registry.use(model, await registry.find(model, "ana", "c")):
            waiting = asyncio.create_task(use(registry, model, "d"))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            assert names(registry, model) == {"a", "b", "c"}
        await waiting  # "c" has made room
        assert names(registry, model) == {"a", "b", "d"}
        monkeypatch.setattr(cache, "PLACE_SECONDS", 0.05)
        async with registry.use(model, await registry.find(model, "ana", "d")):
            with pytest.raises(NoPlace, match="MAX_LOADED_ADAPTERS") as refused:
                await use(registry, model, "c")
    assert refused.value.retry_after


async def test_many_at_once_never_exceed_the_places(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine
) -> None:
    ids = [f"a{number}" for number in range(8)]
    await publish(store, lora, *ids)
    adapters = await asyncio.gather(*(use(registry, model, adapter_id) for adapter_id in ids * 3))
    assert {adapter.name.partition("@")[0] for adapter in adapters} == {f"ana/{each}" for each in ids}
    assert engine.most <= CAPACITY


async def test_another_scope_does_not_find_it(registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel) -> None:
    await publish(store, lora, "a")
    await use(registry, model, "a")
    with pytest.raises(AdapterNotFound):
        await registry.find(model, "sam", "a")
    with pytest.raises(AdapterNotFound):
        await registry.find(model, "sam/../ana", "a")


async def test_an_adapter_of_another_model_is_set_aside_not_lost(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel
) -> None:
    await publish(store, lora, "a")
    other = loaded_model(ScriptedEngine(), "other")
    with pytest.raises(AdapterSetAside, match=f"made for {BASE}, and other serves"):
        await registry.find(other, "ana", "a")
    assert await use(registry, model, "a")


async def test_a_new_engine_is_given_adapters_anew(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine
) -> None:
    await publish(store, lora, "a")
    first = await use(registry, model, "a")
    engine.kill()
    new = loaded_model(SlowEngine())
    second = await use(registry, new, "a")
    assert second.number > first.number
    assert second.name == first.name


async def test_a_damaged_adapter_is_refused_until_it_is_whole(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine, tmp_path: Path
) -> None:
    await publish(store, lora, "a", "b")
    weights = tmp_path / "adapters" / "ana" / "a" / WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    results = await asyncio.gather(*(use(registry, model, each) for each in "aabb"), return_exceptions=True)
    assert [type(result) for result in results] == [AdapterRefused, AdapterRefused, Adapter, Adapter]
    assert names(registry, model) == {"b"}
    weights.write_bytes(whole)
    assert await use(registry, model, "a")


async def test_what_the_engine_itself_refuses_takes_no_place(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(store, lora, "a", "b", "c", "d")
    removed: list[str] = []

    async def refuse(adapter: Adapter) -> None:
        raise AdapterRefused("no")

    async def remove(adapter: Adapter) -> None:
        removed.append(adapter.name)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "add_adapter", refuse)
        patched.setattr(engine, "remove_adapter", remove)
        for adapter_id in "abcd":
            with pytest.raises(AdapterRefused):
                await use(registry, model, adapter_id)
    assert len(removed) == 4  # whatever the engine had begun with
    await use(registry, model, "a")
    assert names(registry, model) == {"a"}


async def test_an_adapter_that_the_engine_cannot_remove_holds_no_place(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(store, lora, *"abcdef")

    async def fail(adapter: Adapter) -> None:
        raise RuntimeError("no such tensor")

    monkeypatch.setattr(engine, "remove_adapter", fail)
    for adapter_id in "abcdef":
        await use(registry, model, adapter_id)
    assert await registry.delete("ana", "f")

    assert len(names(registry, model)) <= CAPACITY
    assert "f" not in names(registry, model)


async def test_an_engine_that_dies_while_it_loads_is_away(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine
) -> None:
    await publish(store, lora, "a")
    using = asyncio.create_task(use(registry, model, "a"))
    await asyncio.sleep(0.005)
    engine.kill()
    with pytest.raises(EngineAway):
        await using


async def test_a_deleted_adapter_leaves_when_nobody_uses_it(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine, tmp_path: Path
) -> None:
    await publish(store, lora, "a")
    async with registry.use(model, await registry.find(model, "ana", "a")) as adapter:
        deleting = asyncio.create_task(registry.delete("ana", "a"))
        await until(lambda: not names(registry, model))
        with pytest.raises(AdapterNotFound):
            await registry.find(model, "ana", "a")
        assert adapter.name in engine.adapters
        assert Path(adapter.path, WEIGHTS).exists()
    assert await deleting
    assert not engine.adapters
    assert not Path(adapter.path).exists()
    assert not await registry.delete("ana", "a")


async def test_a_scope_is_deleted_whole(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine, tmp_path: Path
) -> None:
    await publish(store, lora, "a", "b")
    await publish(store, lora, "a", scope="sam")
    for scope, adapter_id in (("ana", "a"), ("sam", "a")):
        await use(registry, model, adapter_id, scope)
    await registry.delete_scope("ana")
    assert not (tmp_path / "adapters" / "ana").exists()
    assert {name.partition("/")[0] for name in engine.adapters} == {"sam"}


async def test_what_was_deleted_elsewhere_is_not_served_for_long(
    store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine, tmp_path: Path
) -> None:
    await publish(store, lora, "a")
    async with registry_on(store, check_seconds=0.05) as registry:
        await use(registry, model, "a")
        await store_on(FolderStorage(tmp_path / "adapters")).delete("ana", "a")
        await until_gone(engine)
        with pytest.raises(AdapterNotFound):
            await registry.find(model, "ana", "a")


async def test_what_was_published_anew_under_an_old_id_takes_its_place(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine, tmp_path: Path
) -> None:
    await publish(store, lora, "a")
    old = await use(registry, model, "a")
    await store.delete("ana", "a")
    await publish(store, write_lora(tmp_path / "new", random_tensors(seed=1)), "a")
    stored = await store.find("ana", "a")
    assert isinstance(stored, Manifest)
    async with registry.use(model, stored) as new:
        assert new.name != old.name
        assert new.number != old.number
    assert engine.adapters == {new.name}


async def test_a_sleeping_engine_forgets_an_adapter_when_it_wakes(
    registry: AdapterRegistry, store: AdapterStore, lora: Path, model: LoadedModel, engine: SlowEngine
) -> None:
    await publish(store, lora, "a")
    await use(registry, model, "a")
    await engine.sleep()
    deleting = asyncio.create_task(registry.delete("ana", "a"))
    await asyncio.sleep(0.1)
    assert engine.adapters
    await engine.wake_up()
    assert await deleting
    assert not engine.adapters
