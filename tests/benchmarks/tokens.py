"""Tokens a second and the first token: through gateway and ML service, beside vLLM's own server and the bare engine.

All sides serve the same model with the same flags and get the same prompts; each prompt is new to each side, so neither its answers nor
its prompts are cached. Tokens a second are measured with one engine up at a time; first tokens in turns, with an engine idle.
"""

import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp
import httpx
import msgspec

from deploy.local.processes import ChildProcess
from ml_service.models.catalogue import builtin_catalogue
from ml_service.models.number_format import cpu_number_format
from ml_service.settings import Settings as MlSettings
from tests.benchmarks.measure import Goal, Measurement
from tests.benchmarks.system import BenchmarkSystem
from tests.fixtures.ml_service import MODEL
from tests.fixtures.ports import free_port

ANSWER_TOKENS = 64
STREAMS = {8: 32, 32: 64}
"""Streams at once, and how many answers make a round."""
FIRST_TOKENS = 10
"""Answers, one at a time, in a round of first tokens."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """What one streamed answer took: tokens in it, and seconds to its first piece."""

    tokens: int
    first: float


class Client(Protocol):
    """Asks one side for an answer."""

    async def ask(self, session: aiohttp.ClientSession) -> Streamed: ...


class GatewayClient:
    """Asks for drafts through the whole system."""

    def __init__(self, system: BenchmarkSystem) -> None:
        self._url = f"{system.gateway.url}/api/responses/generate"
        self._headers = {"Authorization": f"Bearer {system.device.token}", "Accept": "text/event-stream", "Cache-Control": "no-cache"}
        self._messages = itertools.cycle(system.incoming_messages)

    async def ask(self, session: aiohttp.ClientSession) -> Streamed:
        context = {"maxHistory": 1, "includeContactInfo": False, "maxTokens": ANSWER_TOKENS}
        body = {"messageId": next(self._messages), "context": context}
        begin = time.perf_counter()
        first = 0.0
        async with session.post(self._url, json=body, headers=self._headers) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                if not line.startswith(b"data:"):
                    continue
                first = first or time.perf_counter() - begin
                last = line
        return Streamed(tokens=msgspec.json.decode(last[5:])["tokensUsed"], first=first)


class OpenAiClient:
    """Asks a server that speaks OpenAI's protocol, with the sampling that the gateway uses."""

    def __init__(self, url: str, prompts: list[list[dict[str, str]]]) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._prompts = itertools.cycle(prompts)

    async def ask(self, session: aiohttp.ClientSession) -> Streamed:
        body = {
            "model": MODEL, "messages": next(self._prompts), "stream": True, "stream_options": {"include_usage": True},
            "max_tokens": ANSWER_TOKENS, "temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.1,
            "logprobs": True, "top_logprobs": 0,
        }  # fmt: skip
        begin = time.perf_counter()
        first, tokens = 0.0, 0
        async with session.post(self._url, json=body) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                if not line.startswith(b"data: {"):
                    continue
                event = msgspec.json.decode(line[6:])
                if event["choices"] and event["choices"][0]["delta"].get("content"):
                    first = first or time.perf_counter() - begin
                if event.get("usage"):
                    tokens = event["usage"]["completion_tokens"]
        return Streamed(tokens=tokens, first=first)


async def tokens_per_second(client: Client, streams: int, requests: int) -> float:
    """Keep `streams` answers in the making until `requests` have come."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=streams)) as session:
        left = iter(range(requests))
        total = 0

        async def worker() -> None:
            nonlocal total
            for _ in left:
                answer = await client.ask(session)
                total += answer.tokens  # not in one line with the await: `total` would be read before it

        begin = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(streams)))
        return total / (time.perf_counter() - begin)


async def first_token(client: Client, requests: int) -> float:
    """Median milliseconds to the first piece of an answer, one answer at a time."""
    async with aiohttp.ClientSession() as session:
        return statistics.median([(await client.ask(session)).first for _ in range(requests)]) * 1000


class DirectEngine:
    """`tests.benchmarks.direct_engine` in a process of its own: the bare engine, spoken to over a pipe."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, system: BenchmarkSystem) -> "DirectEngine":
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.benchmarks.direct_engine", str(system.data_dir),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        engine = cls(process)
        await engine._line("ready")
        return engine

    async def first_token(self, prompts: list[list[dict[str, str]]]) -> float:
        """Median milliseconds from prompt to first token, one answer at a time."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(prompts) + b"\n")
        await self._process.stdin.drain()
        return float(await self._line("median"))

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def _line(self, word: str) -> str:
        assert self._process.stdout is not None
        while line := (await self._process.stdout.readline()).decode():
            if line.startswith(f"bench {word}"):
                return line.split()[-1]
        raise RuntimeError("The bare engine ended; run tests.benchmarks.direct_engine by hand to see why")


@asynccontextmanager
async def vllm_server(model: Path, folder: Path, machine_flags: Sequence[str]) -> AsyncIterator[str]:
    """vLLM's own OpenAI-compatible server with the flags that the ML service gives its engine.

    Args:
        model: the bundled model's checkpoint.
        folder: for the log.
        machine_flags: those that depend on what computes.
    """
    defaults, entry = MlSettings(), builtin_catalogue()[MODEL]
    port = free_port()
    flags = [
        "--model", str(model), "--served-model-name", MODEL, "--max-model-len", str(entry.context_length),
        "--max-num-seqs", str(defaults.max_num_seqs), "--enable-lora", "--max-loras", str(defaults.max_loras),
        "--max-lora-rank", str(defaults.max_lora_rank), *machine_flags,
        "--host", "127.0.0.1", "--port", str(port), "--disable-uvicorn-access-log",
    ]  # fmt: skip
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags]
    server = ChildProcess("vLLM's own server", command, log_path=folder / "vllm_server.log")
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    server.start()
    try:
        await asyncio.to_thread(server.wait_until, ready, timeout=300)
        yield url
    finally:
        server.stop()


async def measure(system: BenchmarkSystem, folder: Path, rounds: int) -> list[Measurement]:
    """Both goals about tokens; some minutes.

    The system's ML service is stopped for good before vLLM's own server gets the machine: parts that need it have to come before.
    """
    gateway = GatewayClient(system)
    our_tokens = await _rates(gateway, rounds)
    our_first, their_first = await _first_tokens(system, gateway, rounds)
    system.ml_service.stop()
    their_tokens = await _vllm_alone(system, folder, rounds)
    return [
        *(
            Measurement(
                what=f"tokens through gateway and ML service, {streams} streams",
                unit="tokens/s",
                ours=our_tokens[streams],
                against="vLLM's own server",
                theirs=their_tokens[streams],
                goal=Goal(rule="ratio at least", value=0.93),
            )
            for streams in STREAMS
        ),
        Measurement(
            what="first token through gateway and ML service, 1 stream",
            unit="ms",
            ours=our_first,
            against="the bare engine",
            theirs=their_first,
            goal=Goal(rule="added at most", value=15),
        ),
    ]


async def _vllm_alone(system: BenchmarkSystem, folder: Path, rounds: int) -> dict[int, list[float]]:
    flags = ["--dtype", cpu_number_format("auto"), "--enforce-eager", "--kv-cache-memory-bytes", str(2**30)]
    async with vllm_server(system.model_folder, folder, flags) as url:
        return await _rates(OpenAiClient(url, system.prompts), rounds)


async def _first_tokens(system: BenchmarkSystem, gateway: GatewayClient, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds through the whole system, and of the bare engine, which is up beside it: a minute later the machine is another one."""
    ours, theirs = list[float](), list[float]()
    fresh = iter(system.prompts)
    engine = await DirectEngine.start(system)
    try:
        for _ in range(rounds):
            ours.append(await first_token(gateway, FIRST_TOKENS))
            theirs.append(await engine.first_token(list(itertools.islice(fresh, FIRST_TOKENS))))
    finally:
        await engine.stop()
    return ours, theirs


async def _rates(client: Client, rounds: int) -> dict[int, list[float]]:
    await tokens_per_second(client, streams=4, requests=8)  # the first requests compile kernels
    return {streams: [await tokens_per_second(client, streams, requests) for _ in range(rounds)] for streams, requests in STREAMS.items()}
