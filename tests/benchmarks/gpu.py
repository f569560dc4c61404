"""What a GPU changes: tokens a second of the ML service, with and without personal adapters, beside vLLM's own server with the same flags.

Without gateway and database: what those add is measured by `hop`, and does not depend on what computes.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec

from ml_service.models.catalogue import builtin_catalogue
from ml_service.settings import Settings
from tests.benchmarks.measure import Goal, Measurement
from tests.benchmarks.tokens import ANSWER_TOKENS, Client, OpenAiClient, Streamed, first_token, tokens_per_second, vllm_server
from tests.fixtures.loras import random_tensors, write_lora
from tests.fixtures.ml_service import DATA_DIR, MODEL, TOKEN, MlServiceProcess
from tests.ml_service.adapters.conftest import publish

STREAMS = {1: 8, 8: 128, 32: 512, 64: 1024}
"""Streams at once, and how many answers make a round."""
ACCOUNTS = tuple(f"account-{number}" for number in range(4))
ADAPTER_STREAMS = 32
FIRST_TOKENS = 20


class MlServiceClient:
    """Asks the ML service for drafts, in turns for these accounts and with their adapters; None is the base model."""

    def __init__(self, url: str, accounts: Sequence[str | None]) -> None:
        self._url = f"{url}/generate"
        self._headers = {"Authorization": f"Bearer {TOKEN}"}
        self._accounts = itertools.cycle(accounts)
        self._prompts = itertools.cycle(prompts("ours"))

    async def ask(self, session: aiohttp.ClientSession) -> Streamed:
        account = next(self._accounts)
        body = {
            "messages": next(self._prompts), "stream": True, "max_tokens": ANSWER_TOKENS, "temperature": 0.7, "use_cache": False,
            **({"scope": account, "adapter_id": "v1"} if account is not None else {}),
        }  # fmt: skip
        begin, first, last = time.perf_counter(), 0.0, b""
        async with session.post(self._url, json=body, headers=self._headers) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                if line.startswith(b"data:"):
                    first = first or time.perf_counter() - begin
                    last = line
        return Streamed(tokens=msgspec.json.decode(last[5:])["tokens_used"], first=first)


def prompts(side: str) -> list[list[dict[str, str]]]:
    """Short threads, of which none begins as another does."""
    return [
        [
            {"role": "assistant" if turn % 2 else "user", "content": f"{side} {number}: bread or wine, and how many of us are coming?"}
            for turn in range(5)
        ]
        for number in range(5_000)
    ]


async def measure(folder: Path, rounds: int) -> list[Measurement]:
    """One engine at a time has the GPU."""
    ours, voices, our_first = await _ours(folder, rounds)
    theirs, their_first = await _vllm_alone(folder, rounds)
    return [
        *(
            Measurement(
                what=f"tokens of the ML service, {streams} streams", unit="tokens/s", ours=ours[streams], against="vLLM's own server",
                theirs=theirs[streams], goal=Goal(rule="ratio at least", value=0.93),
            )
            for streams in STREAMS
        ),
        Measurement(
            what=f"tokens, {ADAPTER_STREAMS} streams of four accounts with adapters", unit="tokens/s", ours=voices,
            against="the base model", theirs=ours[ADAPTER_STREAMS],
        ),
        Measurement(
            what="first token of the ML service, 1 stream", unit="ms", ours=our_first, against="vLLM's own server", theirs=their_first,
            goal=Goal(rule="added at most", value=15),
        ),
    ]  # fmt: skip


async def _ours(folder: Path, rounds: int) -> tuple[dict[int, list[float]], list[float], list[float]]:
    store = folder / "gpu-adapters"
    for number, account in enumerate(ACCOUNTS):
        lora = write_lora(folder / f"gpu-lora-{number}", random_tensors(seed=number))
        await asyncio.to_thread(publish, store, lora, account, "v1")
    async with _service(folder, store) as service:
        base, voices = MlServiceClient(service.url, [None]), MlServiceClient(service.url, ACCOUNTS)
        rates = await _rates(base, rounds)
        await tokens_per_second(voices, streams=4, requests=8)
        with_adapters = [await tokens_per_second(voices, ADAPTER_STREAMS, STREAMS[ADAPTER_STREAMS]) for _ in range(rounds)]
        firsts = [await first_token(base, FIRST_TOKENS) for _ in range(rounds)]
    return rates, with_adapters, firsts


async def _vllm_alone(folder: Path, rounds: int) -> tuple[dict[int, list[float]], list[float]]:
    defaults = Settings()
    flags = [
        "--dtype", builtin_catalogue()[MODEL].dtype, "--gpu-memory-utilization", str(defaults.gpu_memory_utilization),
        "--max-cpu-loras", str(defaults.max_loaded_adapters),
    ]  # fmt: skip
    async with vllm_server(DATA_DIR / "models" / MODEL, folder, flags) as url:
        client = OpenAiClient(url, prompts("theirs"))
        return await _rates(client, rounds), [await first_token(client, FIRST_TOKENS) for _ in range(rounds)]


async def _rates(client: Client, rounds: int) -> dict[int, list[float]]:
    await tokens_per_second(client, streams=4, requests=8)
    return {streams: [await tokens_per_second(client, streams, requests) for _ in range(rounds)] for streams, requests in STREAMS.items()}


@asynccontextmanager
async def _service(folder: Path, store: Path) -> AsyncIterator[MlServiceProcess]:
    service = MlServiceProcess(folder, redis_url="redis://127.0.0.1:1/0", adapter_store=str(store))
    try:
        await asyncio.to_thread(service.start)
        yield service
    finally:
        await asyncio.to_thread(service.stop)
