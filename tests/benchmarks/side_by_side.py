"""A draft beside a training and beside a process that keeps a processor busy, and a training beside an engine that has nothing to do.

Each beside itself alone, in one run.
"""

import asyncio
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec

from ml_service.jobs.trainer_process import TrainerProcess
from ml_service.settings import Settings
from ml_service.training.spec import Progress
from tests.benchmarks.made_up_history import windows
from tests.benchmarks.measure import Goal, Measurement
from tests.benchmarks.training import HISTORY, training_job
from tests.fixtures.ml_service import MlServiceProcess

MOST_ROUNDS = 3
DRAFT_SECONDS = 15.0
TRAINING_SECONDS = 20.0
ANSWER_TOKENS = 48
WARM_UP_STEPS = 2
NO_REDIS = "redis://127.0.0.1:1/0"


@dataclass
class _Rates:
    """A round's value each: milliseconds to the first token, tokens a second, optimizer steps a second."""

    first: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)


async def measure(folder: Path, rounds: int) -> list[Measurement]:
    """Some minutes; nothing else of this run may be at work."""
    alone, beside, disturbed = _Rates(), _Rates(), _Rates()
    job = training_job(folder / "job", windows(400, turns_before=HISTORY, threaded=True), epochs=20)
    for number in range(min(rounds, MOST_ROUNDS)):
        service = MlServiceProcess(folder, redis_url=NO_REDIS)
        await asyncio.to_thread(service.start)
        try:
            async with service_client(service) as client:
                await _drafts(client, alone, number * 3)
                with _busy_process():
                    await _drafts(client, disturbed, number * 3 + 1)
                async with _training(job) as training:
                    await _drafts(client, beside, number * 3 + 2)
                    beside.steps.append(await training.steps_per_second())
        finally:
            await asyncio.to_thread(service.stop)
        async with _training(job) as training:
            alone.steps.append(await training.steps_per_second())
    return [
        Measurement(
            what="tokens of a draft beside a training", unit="tokens/s", ours=beside.tokens, against="without one", theirs=alone.tokens,
            goal=Goal(rule="ratio at least", value=0.8),
        ),
        Measurement(
            what="first token of a draft beside a training", unit="ms", ours=beside.first, against="without one", theirs=alone.first,
            goal=Goal(rule="ratio at most", value=1.25),
        ),
        Measurement(
            what="tokens of a draft beside a busy process", unit="tokens/s", ours=disturbed.tokens, against="without one",
            theirs=alone.tokens, goal=Goal(rule="ratio at least", value=0.5),
        ),
        Measurement(
            what="first token of a draft beside a busy process", unit="ms", ours=disturbed.first, against="without one", theirs=alone.first,
            goal=Goal(rule="ratio at most", value=3),
        ),
        Measurement(
            what="training beside an engine without work", unit="steps/s", ours=beside.steps, against="without an engine",
            theirs=alone.steps, goal=Goal(rule="ratio at least", value=0.95),
        ),
    ]  # fmt: skip


@asynccontextmanager
async def service_client(service: MlServiceProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url, headers={"Authorization": f"Bearer {service.token}"}, timeout=300) as client:
        yield client


@contextmanager
def _busy_process() -> Iterator[None]:
    """Something else of the owner's that keeps a processor busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def _drafts(client: httpx.AsyncClient, rates: _Rates, phase: int) -> None:
    """One draft after the other for a while; the medians."""
    firsts, speeds = list[float](), list[float]()
    end = time.monotonic() + DRAFT_SECONDS
    while time.monotonic() < end or len(firsts) < 3:
        first, speed = await _draft(client, phase * 10_000 + len(firsts))
        firsts.append(first * 1000)
        speeds.append(speed)
    rates.first.append(statistics.median(firsts))
    rates.tokens.append(statistics.median(speeds))


async def _draft(client: httpx.AsyncClient, number: int) -> tuple[float, float]:
    """Seconds to the first token, and tokens a second from there on. No prompt begins as another does."""
    turns = [
        {"role": "assistant" if turn % 2 else "user", "content": f"{number}: shall we bring bread or wine, and how many of us are coming?"}
        for turn in range(5)
    ]
    body = {"messages": turns, "max_tokens": ANSWER_TOKENS, "temperature": 0.7, "seed": number, "stream": True}
    begin, first, tokens = time.perf_counter(), 0.0, 0
    async with client.stream("POST", "/generate", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                first = first or time.perf_counter() - begin
                tokens = msgspec.json.decode(line[5:]).get("tokens_used", tokens)
    return first, (tokens - 1) / max(time.perf_counter() - begin - first, 1e-9)


class _Training:
    """A trainer at work as the training worker starts it."""

    def __init__(self) -> None:
        self.step = 0

    async def listen(self, trainer: TrainerProcess) -> None:
        async for said in trainer.says():
            if isinstance(said, Progress):
                self.step = said.step

    async def at_work(self) -> None:
        """Wait until the first steps, which compile kernels, are over."""
        while self.step < WARM_UP_STEPS:
            await asyncio.sleep(0.05)

    async def steps_per_second(self) -> float:
        """From one step's end to another's, some while later."""
        begin, began = await self._next()
        while time.monotonic() - began < TRAINING_SECONDS:
            end, ended = await self._next()
        return (end - begin) / (ended - began)

    async def _next(self) -> tuple[int, float]:
        step = self.step
        while self.step == step:
            await asyncio.sleep(0.01)
        return self.step, time.monotonic()


@asynccontextmanager
async def _training(job: Path) -> AsyncIterator[_Training]:
    folder = shutil.copytree(job, job.with_name(f"training-{time.monotonic_ns()}"))
    trainer = await TrainerProcess.start(folder, Settings())
    training = _Training()
    listening = asyncio.create_task(training.listen(trainer))
    try:
        await training.at_work()
        yield training
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await trainer.stop(5)
        await asyncio.to_thread(shutil.rmtree, folder)
