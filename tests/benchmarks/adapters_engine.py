"""One engine and its adapters: `python -m tests.benchmarks.adapters_engine DATA_DIR FOLDER ROUNDS` prints what they take, as JSON."""

import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from ml_service.adapters.manifest import StoredAdapter
from ml_service.adapters.registry import AdapterRegistry
from ml_service.adapters.store import AdapterStore
from ml_service.engine.factory import default_engine_factory
from ml_service.engine.protocol import Adapter, LoadedModel, Sampling
from ml_service.metrics import Metrics
from ml_service.models.catalogue import builtin_catalogue
from ml_service.settings import Settings
from shared.contracts.generation import Turn
from tests.fixtures.loras import BASE, random_tensors, write_lora

STREAMS = 8
ANSWER_TOKENS = 32
ANSWERS = 32
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
HELD = 5
"""Adapters that the engine of this benchmark holds; there is one more, so that one is always evicted."""
SCOPE = "bench"


class AdapterFigures(msgspec.Struct):
    """A value a round: milliseconds, and tokens a second at eight streams."""

    add_lora: list[float] = msgspec.field(default_factory=list)
    base: list[float] = msgspec.field(default_factory=list)
    one: list[float] = msgspec.field(default_factory=list)
    four: list[float] = msgspec.field(default_factory=list)
    resident_first_token: list[float] = msgspec.field(default_factory=list)
    evicted_first_token: list[float] = msgspec.field(default_factory=list)


class Subject:
    """An engine, and a registry over a store with one adapter too many."""

    def __init__(self, model: LoadedModel, registry: AdapterRegistry, store: AdapterStore) -> None:
        self.model = model
        self.registry = registry
        self.store = store
        self._questions = itertools.count()

    async def answer(self, adapter: Adapter | None, tokens: int = ANSWER_TOKENS) -> tuple[int, float]:
        """A new question's tokens and the seconds to the first one."""
        prompt = self.model.renderer.turns([Turn(role="user", content=f"{next(self._questions)} things to do in Paris, please")])
        begin, first, count = time.perf_counter(), 0.0, 0
        async for delta in self.model.engine.generate(prompt, Sampling(max_tokens=tokens), adapter):
            first = first or time.perf_counter() - begin
            count += delta.tokens
        return count, first

    async def tokens_per_second(self, stored: Sequence[StoredAdapter]) -> float:
        """Answers by these adapters in turn, `STREAMS` at once; without adapters by the base model."""
        left = iter(range(ANSWERS))
        total = 0

        async def stream(number: int) -> None:
            nonlocal total
            for _ in left:
                if stored:
                    async with self.registry.use(self.model, stored[number % len(stored)]) as adapter:
                        tokens, _first = await self.answer(adapter)
                else:
                    tokens, _first = await self.answer(None)
                total += tokens  # not in one line with `await`: that would add to the total of before it

        begin = time.perf_counter()
        await asyncio.gather(*(stream(number) for number in range(STREAMS)))
        return total / (time.perf_counter() - begin)

    async def first_token(self, adapter_id: str) -> float:
        """Milliseconds from asking the registry to the first token."""
        begin = time.perf_counter()
        stored = await self.registry.find(self.model, SCOPE, adapter_id)
        async with self.registry.use(self.model, stored) as adapter:
            waited = time.perf_counter() - begin
            return (waited + (await self.answer(adapter, tokens=2))[1]) * 1000

    async def add_lora(self, stored: StoredAdapter, numbers: "itertools.count[int]") -> float:
        """Milliseconds that the engine takes to load an adapter; it is removed again."""
        number = next(numbers)
        adapter = Adapter(name=f"{stored.name}-{number}", number=number, path=str(await self.store.folder(stored)))
        begin = time.perf_counter()
        await self.model.engine.add_adapter(adapter)
        taken = (time.perf_counter() - begin) * 1000
        await self.model.engine.remove_adapter(adapter)
        return taken


async def main(data_dir: str, folder: Path, rounds: int) -> AdapterFigures:
    settings = Settings(data_dir=data_dir, adapter_store=str(folder / "adapters"), max_loaded_adapters=HELD + 1)
    store = AdapterStore.open(settings, builtin_catalogue())
    ids = [f"adapter-{number}" for number in range(HELD + 1)]
    for seed, adapter_id in enumerate(ids):
        lora = write_lora(folder / adapter_id, random_tensors(8, TARGETS, seed=seed), targets=TARGETS)
        await store.publish(lora, scope=SCOPE, adapter_id=adapter_id, base_model=BASE)
    model = await default_engine_factory(settings)(builtin_catalogue()[BASE])
    registry = AdapterRegistry(store, capacity=HELD, check_seconds=3600, metrics=Metrics())
    subject = Subject(model, registry, store)
    stored = [await registry.find(model, SCOPE, adapter_id) for adapter_id in ids]
    sides: dict[str, Callable[[], Awaitable[float]]] = {
        "base": lambda: subject.tokens_per_second([]),
        "one": lambda: subject.tokens_per_second(stored[:1]),
        "four": lambda: subject.tokens_per_second(stored[:4]),
    }
    for side in sides.values():  # the first generations compile kernels
        await side()
    figures = AdapterFigures()
    numbers = itertools.count(1000)  # beyond the registry's own
    for number in range(rounds):
        figures.add_lora.append(statistics.median([await subject.add_lora(each, numbers) for each in stored]))
        for name in sides if number % 2 == 0 else reversed(sides):
            getattr(figures, name).append(await sides[name]())
        for adapter_id in ids:  # all in turn, so that each is evicted before it is asked for again
            await subject.first_token(adapter_id)
        evicted, resident = [], []
        for adapter_id in ids:
            evicted.append(await subject.first_token(adapter_id))
            resident.append(await subject.first_token(adapter_id))
        figures.evicted_first_token.append(statistics.median(evicted))
        figures.resident_first_token.append(statistics.median(resident))
    await model.engine.shutdown()
    await registry.close()
    return figures


if __name__ == "__main__":
    measured = asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
    print("bench figures", msgspec.json.encode(measured).decode(), flush=True)
