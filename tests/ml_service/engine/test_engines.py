"""What every engine must do: vLLM with a real model, and its double."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ml_service import logs
from ml_service.engine.factory import default_engine_factory
from ml_service.engine.protocol import Adapter, AdapterRefused, Delta, EngineAway, LoadedModel, QueueFull, Sampling
from ml_service.engine.scripted_engine import ScriptedEngine, ScriptedRenderer
from ml_service.engine.supervisor import COMPUTING_SHARE
from ml_service.models.catalogue import builtin_catalogue
from shared.contracts.generation import Turn
from tests.fixtures.ml_service import DATA_DIR
from tests.fixtures.waiting import PATIENCE_SECONDS
from tests.ml_service.conftest import scripted_settings

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's and vLLM's own, while they are imported
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

ENTRY = builtin_catalogue()["smollm2-135m-instruct"]
CAPACITY = 8


@pytest.fixture(scope="module", params=["scripted", "vllm"])
async def model(request: pytest.FixtureRequest, smollm2: Path) -> AsyncIterator[LoadedModel]:
    """A loaded model whose engine takes eight answers at once."""
    if request.param == "scripted":
        engine = ScriptedEngine(token_seconds=0.01, capacity=CAPACITY)
        loaded = LoadedModel(entry=ENTRY, engine=engine, renderer=ScriptedRenderer())
    else:
        settings = scripted_settings(data_dir=str(DATA_DIR), max_model_len=1024, max_num_seqs=4, max_queued_requests=CAPACITY - 4)
        logs.configure(settings)
        loaded = await default_engine_factory(settings)(ENTRY)
    yield loaded
    await loaded.engine.shutdown()


@pytest.fixture(scope="module")
def lora(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny adapter with random weights, in PEFT's layout."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.bfloat16)
    config = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    folder = tmp_path_factory.mktemp("adapter")
    get_peft_model(base, config).save_pretrained(str(folder))
    return folder


@pytest.fixture
def gone_before_it_is_killed(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's core takes longer to stop than it is given, and stops just as vLLM looks for its children, to kill them first."""
    if isinstance(model.engine, ScriptedEngine):
        return
    monkeypatch.setattr("ml_service.engine.vllm_engine.STOP_SECONDS", 0.0)
    children = psutil.Process.children

    def late(process: psutil.Process, *, recursive: bool = False) -> list[psutil.Process]:
        psutil.wait_procs([process], timeout=20)
        with pytest.raises(psutil.NoSuchProcess):
            children(process, recursive=recursive)
        return list(children(process, recursive=recursive))

    monkeypatch.setattr(psutil.Process, "children", late)


def hello(model: LoadedModel) -> list[int]:
    return model.renderer.turns([Turn(role="user", content="Say hello")])


async def deltas(model: LoadedModel, adapter: Adapter | None = None, **fields: Any) -> list[Delta]:
    sampling = Sampling(**{"max_tokens": 8, "temperature": 0.0, **fields})
    return [delta async for delta in model.engine.generate(hello(model), sampling, adapter)]


def text(parts: list[Delta], index: int = 0) -> str:
    return "".join(delta.text for delta in parts if delta.index == index)


async def idle(model: LoadedModel) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while model.engine.running:
            await asyncio.sleep(0.01)


async def test_it_generates_and_counts(model: LoadedModel) -> None:
    parts = await deltas(model, max_tokens=4)
    assert sum(delta.tokens for delta in parts) == 4
    assert text(parts)
    assert 0 < sum(delta.probability_sum for delta in parts) <= 4
    assert [delta.finish_reason for delta in parts if delta.finish_reason] == ["length"]
    assert parts[-1].finish_reason == "length"


async def test_it_draws_several_answers(model: LoadedModel) -> None:
    parts = await deltas(model, n=3, temperature=1.0, seed=1)
    assert {delta.index for delta in parts} == {0, 1, 2}
    assert sum(delta.finish_reason is not None for delta in parts) == 3
    assert len({text(parts, index) for index in range(3)}) > 1


async def test_several_greedy_answers_are_the_same(model: LoadedModel) -> None:
    if isinstance(model.engine, ScriptedEngine):
        pytest.skip("the double has no likeliest answer")
    parts = await deltas(model, n=2)
    assert text(parts, 0) == text(parts, 1) != ""


async def test_the_same_seed_draws_the_same_answer(model: LoadedModel) -> None:
    assert text(await deltas(model, temperature=1.0, seed=7)) == text(await deltas(model, temperature=1.0, seed=7))


async def test_seeded_answers_whose_prompts_are_read_in_parts_are_written(model: LoadedModel) -> None:
    async def answer(number: int) -> str:
        prompt = model.renderer.turns([Turn(role="user", content=f"{number}: " + "a long story about a lake " * 100)])
        parts = [delta async for delta in model.engine.generate(prompt, Sampling(max_tokens=4, temperature=1.0, seed=number))]
        return text(parts)

    assert all(await asyncio.gather(*(answer(number) for number in range(4))))


async def test_it_ends_before_a_stop_text(model: LoadedModel) -> None:
    whole = text(await deltas(model, max_tokens=12))
    stop = whole.split()[1]
    parts = await deltas(model, max_tokens=12, stop=(stop,))
    assert parts[-1].finish_reason == "stop"
    assert text(parts) == whole[: whole.index(stop)]


async def test_it_shows_that_it_makes_progress(model: LoadedModel) -> None:
    before = time.monotonic()
    assert model.engine.last_progress <= before
    await deltas(model)
    assert model.engine.last_progress > before


async def test_it_shows_that_it_computes(model: LoadedModel) -> None:
    before = model.engine.processor_seconds()
    await deltas(model, max_tokens=32)
    assert model.engine.processor_seconds() > before


async def test_at_rest_it_does_not_look_as_if_it_computed(model: LoadedModel) -> None:
    await idle(model)
    await asyncio.sleep(0.5)  # threads that computed spin a little after it
    before = model.engine.processor_seconds()
    await asyncio.sleep(2)
    assert model.engine.processor_seconds() - before < 2 * COMPUTING_SHARE


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_leaving_aborts_the_generation(model: LoadedModel, how: str) -> None:
    generation = model.engine.generate(hello(model), Sampling(max_tokens=500))
    await anext(generation)
    assert model.engine.running == 1
    if how == "close":
        await generation.aclose()
    else:

        async def consume() -> None:
            async for _delta in generation:
                pass

        consumer = asyncio.create_task(consume())
        await asyncio.sleep(0.03)
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer
    assert model.engine.running == 0


async def test_more_than_its_queue_holds_is_refused(model: LoadedModel) -> None:
    taken = [asyncio.create_task(deltas(model, n=2, max_tokens=12, temperature=1.0)) for _ in range(CAPACITY // 2)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while model.engine.running < CAPACITY:
            await asyncio.sleep(0)
    with pytest.raises(QueueFull) as refused:
        await deltas(model)
    assert refused.value.retry_after
    await asyncio.gather(*taken)
    await idle(model)
    assert text(await deltas(model))


async def test_an_adapter_is_served_and_taken_away(model: LoadedModel, lora: Path) -> None:
    adapter = Adapter(name="ana-1", number=1, path=str(lora))
    base = text(await deltas(model))
    await model.engine.add_adapter(adapter)

    adapted, plain = await asyncio.gather(deltas(model, adapter), deltas(model))

    assert text(plain) == base
    assert adapted[-1].finish_reason
    if not isinstance(model.engine, ScriptedEngine):
        assert text(adapted) != base
    await model.engine.remove_adapter(adapter)
    await model.engine.remove_adapter(adapter)


@pytest.mark.parametrize("damage", ["missing", "truncated"])
async def test_a_bad_adapter_is_refused_and_harms_nobody(model: LoadedModel, lora: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "bad"
    if damage == "truncated":
        shutil.copytree(lora, folder)
        weights = folder / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
    running = asyncio.create_task(deltas(model, max_tokens=12))
    with pytest.raises(AdapterRefused) as refused:
        await model.engine.add_adapter(Adapter(name="bad", number=2, path=str(folder)))
    assert str(tmp_path) not in refused.value.message
    assert (await running)[-1].finish_reason
    assert model.engine.alive


async def test_asleep_it_does_nothing_and_awake_it_is_as_before(model: LoadedModel, lora: Path) -> None:
    adapter = Adapter(name="ana-3", number=3, path=str(lora))
    await model.engine.add_adapter(adapter)
    before = text(await deltas(model, adapter))
    await model.engine.sleep()
    await model.engine.sleep()
    with pytest.raises(EngineAway):
        await deltas(model)
    for change in (model.engine.add_adapter, model.engine.remove_adapter):
        with pytest.raises(EngineAway):
            await change(adapter)
    assert model.engine.alive
    await model.engine.wake_up()
    await model.engine.wake_up()
    assert text(await deltas(model, adapter)) == before
    await model.engine.remove_adapter(adapter)


async def test_after_a_shutdown_it_is_away(model: LoadedModel, gone_before_it_is_killed: None) -> None:
    """The last one: the fixture's engine is gone afterwards."""
    running = asyncio.create_task(deltas(model, max_tokens=500, temperature=2.0))  # as hot as this it finds no end
    await asyncio.sleep(0.05)
    await model.engine.shutdown()
    with pytest.raises(EngineAway):
        await running
    with pytest.raises(EngineAway):
        await deltas(model)
    assert not model.engine.alive
    await model.engine.shutdown()
