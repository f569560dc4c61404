"""The bare engine in one number format: `python -m tests.benchmarks.format_engine FORMAT` prints what it reaches, as JSON, and ends."""

import asyncio
import json
import sys
import time

from ml_service.engine.protocol import LoadedModel, Sampling
from ml_service.engine.vllm_engine import VllmEngine
from ml_service.models.catalogue import builtin_catalogue
from ml_service.settings import Settings
from shared.contracts.generation import Turn
from tests.fixtures.ml_service import DATA_DIR

STREAMS = (1, 8, 32)
ANSWER_TOKENS = 48
PROMPT_TOKENS = 2_000


async def main() -> None:
    settings = Settings(data_dir=str(DATA_DIR), cpu_number_format=sys.argv[1])  # type: ignore[arg-type]
    model = await VllmEngine.start(builtin_catalogue()["smollm2-135m-instruct"], settings)
    await _answer(model, "Hello", 4)
    reached: dict[str, float] = {}
    for streams in STREAMS:
        begin = time.perf_counter()
        counts = await asyncio.gather(*(_answer(model, f"Question {streams} {number}", ANSWER_TOKENS) for number in range(streams)))
        reached[str(streams)] = sum(counts) / (time.perf_counter() - begin)
    begin = time.perf_counter()
    async for _ in model.engine.generate(list(range(1_000, 1_000 + PROMPT_TOKENS)), Sampling(max_tokens=1)):
        reached["first"] = time.perf_counter() - begin
    await model.engine.shutdown()
    print("bench " + json.dumps(reached), flush=True)


async def _answer(model: LoadedModel, question: str, tokens: int) -> int:
    prompt = model.renderer.turns([Turn(role="user", content=f"{question}: what should we bring for dinner on Saturday?")])
    count = 0
    async for delta in model.engine.generate(prompt, Sampling(max_tokens=tokens, seed=len(question))):
        count += delta.tokens
    return count


if __name__ == "__main__":
    asyncio.run(main())
