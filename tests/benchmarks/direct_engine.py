"""The bare engine: `python -m tests.benchmarks.direct_engine DATA_DIR` reads prompts from standard input and answers medians."""

import asyncio
import statistics
import sys
import time

import msgspec

from ml_service.engine.protocol import LoadedModel, Sampling
from ml_service.engine.vllm_engine import VllmEngine
from ml_service.models.catalogue import builtin_catalogue
from ml_service.settings import Settings
from shared.contracts.generation import Turn


async def main() -> None:
    """Serve until standard input closes."""
    settings = Settings(data_dir=sys.argv[1])
    model = await VllmEngine.start(builtin_catalogue()["smollm2-135m-instruct"], settings)
    await _first_token(model, [{"role": "user", "content": "Hello"}])
    print("bench ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        seconds = [await _first_token(model, prompt) for prompt in msgspec.json.decode(line)]
        print("bench median", statistics.median(seconds) * 1000, flush=True)
    await model.engine.shutdown()


async def _first_token(model: LoadedModel, prompt: list[dict[str, str]]) -> float:
    """Seconds to the first token; the answer is then finished, as a client would let it."""
    turns = [Turn(role=turn["role"], content=turn["content"]) for turn in prompt]  # type: ignore[arg-type]
    begin = time.perf_counter()
    first = 0.0
    async for _ in model.engine.generate(model.renderer.turns(turns), Sampling(max_tokens=64)):
        first = first or time.perf_counter() - begin
    return first


if __name__ == "__main__":
    asyncio.run(main())
