"""The engine on a GPU: many voices in one batch, a training beside it and one while it sleeps, a core that is killed, another model."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import msgspec
import pytest

from tests.benchmarks.gpu import FIRST_TOKENS, STREAMS, MlServiceClient
from tests.benchmarks.tokens import first_token, tokens_per_second
from tests.fixtures.ml_service import MlServiceProcess
from tests.fixtures.training import STYLE
from tests.fixtures.waiting import ENGINE_SECONDS, eventually
from tests.gpu.conftest import WORDS, StartWorker, ask, style_question, style_training
from tests.gpu.machine import catalogue_with_twin, needs_gpu, used_mib
from tests.ml_service.jobs.trainings import state, wait_for

pytestmark = needs_gpu

CAPITAL: dict[str, Any] = {"messages": None, "prompt": "The capital of France is", "max_tokens": 3, "temperature": 0, "use_cache": False}
ANIMALS: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Name three animals."}],
    "max_tokens": 20,
    "temperature": 0,
    "use_cache": False,
}


@pytest.fixture(scope="module")
def service(run_folder: Path, redis_url: str, smollm2: Path, adapter_store: Path) -> Iterator[MlServiceProcess]:
    """The service as it is by default, but for the model, since the default one comes from the hub, and able to sleep.

    One start serves all tests: on a GPU it takes minutes.
    """
    process = MlServiceProcess(
        run_folder,
        redis_url=redis_url,
        adapter_store=str(adapter_store),
        model_catalogue=catalogue_with_twin(run_folder, smollm2),
        training_gpu="sleep",
        sleep_patience_seconds="2",
    )
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def client(service: MlServiceProcess) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def test_it_answers_from_the_gpu(client: httpx.Client) -> None:
    assert "Paris" in ask(client, **CAPITAL)["response"]
    assert used_mib() > 2_000


def test_a_stream_brings_its_tokens_one_after_the_other(client: httpx.Client) -> None:
    body = {"prompt": "Once upon a time", "max_tokens": 200, "stream": True, "use_cache": False}
    with client.stream("POST", "/generate", json=body) as answer:
        pieces = sum(line.startswith("data:") for line in answer.iter_lines())
    assert pieces > 50


def test_four_voices_and_none_share_a_batch(client: httpx.Client, accounts: dict[str, str]) -> None:
    asked = [*WORDS, None] * 6

    def one(word: str | None) -> set[str]:
        answer = ask(client, accounts[word], "v1") if word is not None else ask(client)
        return set(answer["response"].split())

    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(one, asked))
    for word, answer in zip(asked, answers, strict=True):
        assert answer == {word} if word is not None else answer.isdisjoint(WORDS)


def test_a_batch_is_many_times_as_fast_as_one_answer_after_the_other(service: MlServiceProcess, accounts: dict[str, str]) -> None:
    async def rates() -> dict[str, float]:
        base, voices = MlServiceClient(service.url, [None]), MlServiceClient(service.url, list(accounts.values()))
        found = {}
        for name, client in (("the base model", base), ("four voices", voices)):
            await tokens_per_second(client, streams=64, requests=64)  # what meets a kernel first compiles it
            for streams, requests in STREAMS.items():
                found[f"{name}, {streams} streams"] = await tokens_per_second(client, streams, requests // 2)
        found["first token in ms"] = await first_token(base, FIRST_TOKENS)
        return found

    found = asyncio.run(rates())

    for name, value in found.items():
        print(f"{name}: {value:,.0f}" + (" tokens/s" if "streams" in name else ""))
    assert found["the base model, 32 streams"] > 4 * found["the base model, 1 streams"]
    assert found["four voices, 32 streams"] > 4 * found["four voices, 1 streams"]


def test_a_seeded_answer_is_the_same_each_time(client: httpx.Client) -> None:
    question: dict[str, Any] = {
        "messages": [{"role": "user", "content": "Tell me something " * 40}],
        "max_tokens": 30,
        "seed": 7,
        "use_cache": False,
    }
    assert ask(client, **question)["response"] == ask(client, **question)["response"]


def test_a_schema_constrains_what_is_generated(client: httpx.Client) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name"],
    }
    body = {
        "model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": "Describe a person as JSON"}], "max_tokens": 80,
        "temperature": 0, "response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}},
    }  # fmt: skip
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert "name" in msgspec.json.decode(answer.json()["choices"][0]["message"]["content"])


def test_a_training_beside_it_makes_a_voice_that_is_served(
    service: MlServiceProcess, client: httpx.Client, start_worker: StartWorker
) -> None:
    """TRAINING_GPU=share, in bfloat16: drafts go on meanwhile."""
    start_worker(service.url, training_gpu="share")
    training = style_training()
    done = threading.Event()
    alone = [_draft_ms(client) for _ in range(30)]
    beside: list[float] = []

    def draft() -> None:
        while not done.is_set():
            beside.append(_draft_ms(client))

    with ThreadPoolExecutor(1) as pool:
        drafting = pool.submit(draft)
        try:
            job_id = client.post("/training/start", json=training).raise_for_status().json()["job_id"]
            end = wait_for(client, job_id, "completed", "failed", seconds=ENGINE_SECONDS)
        finally:
            done.set()
        drafting.result()

    assert end.status == "completed", end.error
    assert end.eval_loss is not None
    assert end.baseline_eval_loss is not None
    assert end.eval_loss < end.baseline_eval_loss
    assert end.peak_memory_mib is not None
    assert end.started_at is not None
    assert end.completed_at is not None
    print(
        f"trained in {(end.completed_at - end.started_at).total_seconds():.1f} s, {end.step} steps, {end.peak_memory_mib} MiB of the GPU;"
    )
    print(f"meanwhile {len(beside)} drafts, median {median(beside):.0f} ms, longest {max(beside):.0f}; before, median {median(alone):.0f}")
    answer = ask(client, training["scope"], end.adapter_id, **style_question())
    assert answer["response"].strip().endswith(STYLE)
    assert len(beside) > 5


def _draft_ms(client: httpx.Client) -> float:
    begin = time.monotonic()
    ask(client, max_tokens=16)
    return (time.monotonic() - begin) * 1000


def test_asleep_it_gives_its_memory_back_and_awake_it_is_as_before(client: httpx.Client, accounts: dict[str, str]) -> None:
    before = ask(client, **ANIMALS)["response"]
    assert set(ask(client, accounts["apple"], "v1")["response"].split()) == {"apple"}
    awake = used_mib()

    begin = time.monotonic()
    assert client.post("/model/sleep", json={"seconds": 60}).raise_for_status().json()["asleep"]
    slept = time.monotonic() - begin
    asleep = used_mib()
    assert client.post("/generate", json=ANIMALS).status_code == 503
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, client, **ANIMALS)
        time.sleep(0.5)
        begin = time.monotonic()
        assert not client.post("/model/wake").raise_for_status().json()["asleep"]
        woke = time.monotonic() - begin
        after = waiting.result()["response"]

    print(f"awake {awake:,} MiB, asleep {asleep:,} MiB; asleep after {slept:.2f} s, awake again after {woke:.2f} s")
    assert asleep < awake / 4
    assert after == before
    assert set(ask(client, accounts["apple"], "v1")["response"].split()) == {"apple"}


def test_it_sleeps_while_something_trains(service: MlServiceProcess, client: httpx.Client, start_worker: StartWorker) -> None:
    """TRAINING_GPU=sleep; on preferences, which need more memory than replies alone."""
    before = ask(client, **ANIMALS)["response"]
    start_worker(service.url, training_gpu="sleep")
    training = style_training(method="dpo", epochs=1, learning_rate=5e-5)
    awake = used_mib()
    taken, refused = [awake], 0
    begin = time.monotonic()
    job_id = client.post("/training/start", json=training).raise_for_status().json()["job_id"]
    while state(client, job_id).status not in ("completed", "failed"):
        assert time.monotonic() - begin < ENGINE_SECONDS
        taken.append(used_mib())
        refused += client.get("/health").json()["engine"] == "sleeping"
        time.sleep(0.2)
    end = wait_for(client, job_id, "completed", "failed")

    assert end.status == "completed", end.error
    service.wait_ready()
    print(
        f"{end.step} steps of DPO in {time.monotonic() - begin:.1f} s, {end.peak_memory_mib} MiB; "
        f"the GPU held {awake:,} MiB before and {min(taken):,} MiB at least meanwhile"
    )
    assert refused > 0
    assert min(taken) < awake / 2
    assert end.eval_loss is not None
    assert end.baseline_eval_loss is not None
    assert end.eval_loss < end.baseline_eval_loss
    assert ask(client, **ANIMALS)["response"] == before
    assert ask(client, training["scope"], end.adapter_id, **style_question())["response"]


def test_a_core_that_is_killed_is_replaced_and_its_memory_given_back(
    service: MlServiceProcess, client: httpx.Client, accounts: dict[str, str]
) -> None:
    before = used_mib()
    begin = time.monotonic()
    service.kill_engine()
    eventually(lambda: service.health_status() != 200)
    service.wait_ready()
    print(f"a killed core was replaced after {time.monotonic() - begin:.1f} s")
    assert set(ask(client, accounts["river"], "v1")["response"].split()) == {"river"}
    assert used_mib() < before * 1.1


def test_another_model_takes_its_place(client: httpx.Client) -> None:
    """The last one: it leaves another model."""
    reloaded = client.post("/model/reload", params={"model_id": "twin"})
    assert reloaded.status_code == 200, reloaded.text
    print(f"reloaded in {reloaded.json()['seconds']:.1f} s")
    answer = ask(client, **CAPITAL)
    assert answer["model_version"] == "twin"
    assert "Paris" in answer["response"]
