"""A double of the engine that answers with fixed words: for tests, and for trying out client apps without a model."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ml_service.engine.protocol import (
    Adapter,
    AdapterRefused,
    AsgiApp,
    Delta,
    EngineAway,
    EngineFactory,
    LoadedModel,
    QueueFull,
    Sampling,
)
from ml_service.models.catalogue import ModelEntry
from shared.contracts.generation import FinishReason, Turn

WORDS = ("Sounds", " good", ",", " see", " you", " then", "!", " Let", " me", " know", " if", " anything", " changes", ".")
PROBABILITY = 0.5
STEP_SECONDS = 0.001
"""Processor time that a step counts."""


class ScriptedRenderer:
    """Tokens are the text's UTF-8 bytes; control tokens, which text cannot contain, stand above them."""

    _ROLES = {"system": 256, "user": 257, "assistant": 258}  # noqa: RUF012 - read only
    _END = 259

    def text(self, prompt: str) -> list[int]:
        return list(prompt.encode())

    def turns(self, turns: Sequence[Turn], *, answer_follows: bool = True) -> list[int]:
        tokens: list[int] = []
        for turn in turns:
            tokens += [self._ROLES[turn.role], *turn.content.encode(), self._END]
        return [*tokens, self._ROLES["assistant"]] if answer_follows else tokens


class ScriptedEngine:
    """Gives the same words over and over, each answer of `n` beginning one word later; with an adapter its name comes first."""

    def __init__(self, *, token_seconds: float = 0.0, context_length: int = 8192, capacity: int = 256) -> None:
        self._context_length = context_length
        self._capacity = capacity
        self._answers = 0
        self._alive = True
        self._asleep = False
        self._adapters: set[str] = set()
        self._running = asyncio.Event()
        self._running.set()
        self._processor_seconds = 0.0
        self._stalled = time.monotonic()
        self._share = 0.0
        self.token_seconds = token_seconds
        self.last_progress = time.monotonic()
        self.generations = 0
        """How many generations were started, for tests that count them."""
        self.aborted = 0
        """How many of them were left before they ended."""
        self.last_scope: str | None = None
        """Whose the last one was."""

    @property
    def adapters(self) -> frozenset[str]:
        """The names of the loaded adapters, for tests."""
        return frozenset(self._adapters)

    @property
    def context_length(self) -> int:
        return self._context_length

    @property
    def alive(self) -> bool:
        return self._alive

    def processor_seconds(self) -> float:
        return self._processor_seconds + self._share * (time.monotonic() - self._stalled)

    @property
    def running(self) -> int:
        return self._answers

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, adapter: Adapter | None = None, *, scope: str | None = None
    ) -> AsyncGenerator[Delta, None]:
        self._check_awake()
        self.last_scope = scope
        if adapter is not None and adapter.name not in self._adapters:
            raise AdapterRefused("This adapter was not added")
        if self._answers + sampling.n > self._capacity:
            raise QueueFull("Too many answers are being generated")
        self._answers += sampling.n
        self.generations += 1
        try:
            for delta in _script(sampling, (f"<{adapter.name}> ", *WORDS) if adapter is not None else WORDS):
                await asyncio.sleep(self.token_seconds)
                await self._running.wait()
                self._check_awake()
                self.last_progress = time.monotonic()
                self._processor_seconds += STEP_SECONDS
                yield delta
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted += 1
            raise
        finally:
            self._answers -= sampling.n

    async def add_adapter(self, adapter: Adapter) -> None:
        self._check_awake()
        try:
            with safe_open(Path(adapter.path) / "adapter_model.safetensors", "numpy"):
                pass
        except (OSError, SafetensorError) as error:
            raise AdapterRefused("The adapter's files are missing or damaged") from error
        self._adapters.add(adapter.name)

    async def remove_adapter(self, adapter: Adapter) -> None:
        self._check_awake()
        self._adapters.discard(adapter.name)

    async def sleep(self) -> None:
        self._check_alive()
        self._asleep = True

    async def wake_up(self) -> None:
        self._check_alive()
        self._asleep = False

    def openai_app(self) -> AsgiApp | None:
        return None

    async def shutdown(self) -> None:
        self.kill()

    def kill(self) -> None:
        """Die as a killed engine does: whoever waits for a token gets `EngineAway`."""
        self._alive = False
        self._running.set()

    def stall(self, share: float = 0.0) -> None:
        """Finish no step without dying: stopped, or with a share of a core, as in a step that takes long."""
        self._processor_seconds = self.processor_seconds()
        self._stalled, self._share = time.monotonic(), share
        self._running.clear()

    def resume(self) -> None:
        """Go on after `stall`."""
        self._processor_seconds, self._share = self.processor_seconds(), 0.0
        self._running.set()

    def _check_alive(self) -> None:
        if not self._alive:
            raise EngineAway("The engine died")

    def _check_awake(self) -> None:
        self._check_alive()
        if self._asleep:
            raise EngineAway("The engine sleeps")


def _script(sampling: Sampling, script: Sequence[str]) -> Iterator[Delta]:
    """The deltas of all answers, one token of each in turn."""
    answers = [_answer(index, sampling, script) for index in range(sampling.n)]
    for deltas in itertools.zip_longest(*answers):
        yield from (delta for delta in deltas if delta is not None)


def _answer(index: int, sampling: Sampling, script: Sequence[str]) -> list[Delta]:
    words = [script[(index + position) % len(script)] for position in range(min(len(script), sampling.max_tokens))]
    text = "".join(words)
    stops = [text.index(stop) for stop in sampling.stop if stop in text]
    end = min(stops, default=len(text))
    deltas: list[Delta] = []
    position = 0
    for word in words:
        if position >= end and stops:
            break
        deltas.append(Delta(index, word[: end - position], 1, PROBABILITY))
        position += len(word)
    if not deltas:  # the answer begins with a stop text
        deltas.append(Delta(index, "", 1, PROBABILITY))
    reason: FinishReason = "stop" if stops or len(words) == len(script) else "length"
    return [*deltas[:-1], replace(deltas[-1], finish_reason=reason)]


def scripted_factory(*, token_seconds: float = 0.02, context_length: int = 8192) -> EngineFactory:
    """A factory that "loads" any model of the catalogue at once."""

    async def load(entry: ModelEntry) -> LoadedModel:
        engine = ScriptedEngine(token_seconds=token_seconds, context_length=context_length)
        return LoadedModel(entry=entry, engine=engine, renderer=ScriptedRenderer())

    return load
