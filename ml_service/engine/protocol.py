"""What an engine can do: prompt token ids in, a stream of text with token probabilities out."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ml_service.models.catalogue import ModelEntry
from ml_service.models.prompts import PromptRenderer
from shared.contracts.generation import FinishReason
from shared.errors import AppError, BadRequest, Conflict, Unavailable

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class EngineAway(Unavailable):
    """There is no engine to generate with, or it went away while it generated."""


class QueueFull(Unavailable):
    """The engine's own admission control refuses further work for now."""


class RequestRefused(BadRequest):
    """The engine refuses these tokens or sampling parameters; asking again will not help."""


class AdapterRefused(Conflict):
    """The adapter's files are missing, damaged or not of a kind that the engine serves. The engine is unharmed."""


class GenerationFailed(AppError):
    """The engine is healthy, but this generation failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn; `temperature` 0 takes the likeliest. `n` answers are drawn for the one prompt."""

    max_tokens: int
    temperature: float = 0.7
    top_p: float = 0.9
    repetition_penalty: float = 1.1
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """One immutable version of a personal LoRA adapter. Name, number and path are never used again for another version."""

    name: str
    number: int
    path: str


@dataclass(frozen=True, slots=True)
class Delta:
    """What one answer gained: text (possibly empty), the number of tokens behind it, and the sum of their probabilities.

    A probability is the model's own (temperature 1, no penalties) for the token that was drawn. `finish_reason` is set on the last
    delta of each of the `n` answers.
    """

    index: int
    text: str
    tokens: int
    probability_sum: float
    finish_reason: FinishReason | None = None


class Engine(Protocol):
    """One loaded model. All methods belong to the event loop that first generated."""

    @property
    def context_length(self) -> int:
        """Tokens that prompt and answer can have together."""

    @property
    def alive(self) -> bool:
        """False once the engine has died; an engine that is merely stuck is still alive."""

    @property
    def last_progress(self) -> float:
        """`time.monotonic()` of the last step that the engine's scheduler finished.

        A step may take long where others have the processor: see `processor_seconds`.
        """

    def processor_seconds(self) -> float:
        """Processor time that the engine's processes have used so far: while a step lasts, its growth says that they compute.

        Costs a look at every process of the machine. Always 0 where it says nothing: a process that waits for a GPU may spin, and
        there a step is short.
        """

    @property
    def running(self) -> int:
        """Answers that it has begun or taken in."""

    def generate(
        self, prompt: Sequence[int], sampling: Sampling, adapter: Adapter | None = None, *, scope: str | None = None
    ) -> AsyncGenerator[Delta, None]:
        """Generate `sampling.n` answers; the stream ends when all of them have.

        What an engine keeps of a prompt, to begin the next one sooner, is used for prompts of the same `scope` only: how soon an answer
        begins would tell others what a prompt was. None is a scope of its own.

        Cancelling the consumer, or closing the iterator, aborts the generation in the engine.

        Raises:
            QueueFull, RequestRefused: before the first delta.
            EngineAway: the engine died, at any time.
            GenerationFailed: this generation failed, the engine lives.
        """

    async def add_adapter(self, adapter: Adapter) -> None:
        """Load an adapter; only then may `generate` be given it.

        Raises:
            AdapterRefused: it cannot be loaded; nothing changed.
            EngineAway: the engine died.
        """

    async def remove_adapter(self, adapter: Adapter) -> None:
        """Unload an adapter; one that is not loaded is fine."""

    async def sleep(self) -> None:
        """Give back the accelerator's memory until `wake_up`; on a CPU there is none to give back. Adapters stay loaded.

        What is being generated is aborted, and until `wake_up` everything raises EngineAway. An engine that sleeps is fine.

        Raises:
            EngineAway: the engine died.
        """

    async def wake_up(self) -> None:
        """Be as before `sleep`; an engine that is awake is fine.

        Raises:
            EngineAway: the engine died.
        """

    def openai_app(self) -> AsgiApp | None:
        """The engine's own OpenAI-compatible app, whose paths begin with `/v1`; None if it has none."""

    async def shutdown(self) -> None:
        """Stop the engine's processes, within seconds even if it is stuck; what it generates raises EngineAway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """An engine, the model it serves, and the way to write that model's prompts."""

    entry: ModelEntry
    engine: Engine
    renderer: PromptRenderer


EngineFactory = Callable[[ModelEntry], Awaitable[LoadedModel]]
"""Loads a model. May take minutes; raises any exception if the model cannot be loaded, and leaves no process behind then."""
