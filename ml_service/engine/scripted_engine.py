"""A double of the engine that answers with fixed words: for tests, and for trying out client apps without a model."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path

from ml_service.engine.protocol import (
    Adapter,
    AdapterRefused,
    AsgiApp,
    Delta,
    EngineAway,
    EngineFactory,
    Load,
    LoadedModel,
    QueueFull,
    Sampling,
)
from ml_service.models.catalogue import ModelEntry
from shared.contracts.generation import Turn

WORDS = ("Sounds", " good", ",", " see", " you", " then", "!", " Let", " me", " know", " if", " anything", " changes", ".")
PROBABILITY = 0.5


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
    """Gives the same words over and over, each answer of `n` beginning one word later.

    Args:
        token_seconds: time between two tokens.
        context_length: window in tokens.
        capacity: answers generated or waiting at once before `QueueFull`.
    """

    def __init__(self, *, token_seconds: float = 0.0, context_length: int = 8192, capacity: int = 256) -> None:
        self._context_length = context_length
        self._capacity = capacity
        self._answers = 0
        self._alive = True
        self._adapters: set[str] = set()
        self._running = asyncio.Event()
        self._running.set()
        self.token_seconds = token_seconds
        self.last_progress = time.monotonic()
        self.generations = 0
        """How many generations were started, for tests that count them."""
        self.aborted = 0
        """How many of them were left before they ended."""

    @property
    def context_length(self) -> int:
        return self._context_length

    @property
    def alive(self) -> bool:
        return self._alive

    @property
    def load(self) -> Load:
        return Load(running=self._answers, waiting=0)

    async def generate(self, prompt: Sequence[int], sampling: Sampling, adapter: Adapter | None = None) -> AsyncGenerator[Delta, None]:
        self._check_alive()
        if adapter is not None and adapter.name not in self._adapters:
            raise AdapterRefused("This adapter was not added")
        if self._answers + sampling.n > self._capacity:
            raise QueueFull("Too many answers are being generated")
        self._answers += sampling.n
        self.generations += 1
        try:
            for delta in self._script(sampling):
                await asyncio.sleep(self.token_seconds)
                await self._running.wait()
                self._check_alive()
                self.last_progress = time.monotonic()
                yield delta
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted += 1
            raise
        finally:
            self._answers -= sampling.n

    def _script(self, sampling: Sampling) -> Iterator[Delta]:
        texts = [""] * sampling.n
        open_answers = set(range(sampling.n))
        for position in itertools.count():
            for index in sorted(open_answers):
                delta, texts[index] = self._next(index, position, texts[index], sampling)
                if delta.finish_reason is not None:
                    open_answers.discard(index)
                yield delta
            if not open_answers:
                return

    def _next(self, index: int, position: int, before: str, sampling: Sampling) -> tuple[Delta, str]:
        word = WORDS[(position + index) % len(WORDS)]
        text = before + word
        found = [text.index(stop) for stop in sampling.stop if stop in text]
        if found:
            text = text[: max(min(found), len(before))]
            return Delta(index, text[len(before) :], 1, PROBABILITY, "stop"), text
        if position + 1 == sampling.max_tokens:
            return Delta(index, word, 1, PROBABILITY, "length"), text
        return Delta(index, word, 1, PROBABILITY, "stop" if position + 1 == len(WORDS) else None), text

    async def add_adapter(self, adapter: Adapter) -> None:
        self._check_alive()
        weights = Path(adapter.path) / "adapter_model.safetensors"
        try:
            complete = _safetensors_is_complete(weights)
        except OSError:
            complete = False
        if not complete:
            raise AdapterRefused("The adapter's files are missing or damaged")
        self._adapters.add(adapter.name)

    async def remove_adapter(self, adapter: Adapter) -> None:
        self._adapters.discard(adapter.name)

    def openai_app(self) -> AsgiApp | None:
        return None

    async def shutdown(self) -> None:
        self.kill()

    def kill(self) -> None:
        """Die as a killed engine does: whoever waits for a token gets `EngineAway`."""
        self._alive = False
        self._running.set()

    def stall(self) -> None:
        """Stop computing without dying."""
        self._running.clear()

    def resume(self) -> None:
        """Go on after `stall`."""
        self._running.set()

    def _check_alive(self) -> None:
        if not self._alive:
            raise EngineAway("The engine died")


def _safetensors_is_complete(path: Path) -> bool:
    """Whether a file is as long as its own header says (the header's length leads the file, eight bytes, little-endian)."""
    import json

    data = path.read_bytes()
    header_length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + header_length])
    except ValueError:
        return False
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    return len(data) == 8 + header_length + max(ends, default=0)


def scripted_factory(*, token_seconds: float = 0.02, context_length: int = 8192) -> EngineFactory:
    """A factory that "loads" any model of the catalogue at once."""

    async def load(entry: ModelEntry) -> LoadedModel:
        engine = ScriptedEngine(token_seconds=token_seconds, context_length=context_length)
        return LoadedModel(entry=entry, engine=engine, renderer=ScriptedRenderer())

    return load
