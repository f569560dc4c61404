"""From a request to its answer: prompt, cache, single flight, engine. What waits and what streams goes the same way."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from ml_service.cache.flights import Flights, Seat
from ml_service.cache.keys import answer_key, named_key
from ml_service.cache.response_cache import ResponseCache
from ml_service.engine.protocol import Adapter, Delta, EngineAway, LoadedModel, Sampling
from ml_service.engine.supervisor import EngineSupervisor
from ml_service.errors import body_of
from ml_service.metrics import Metrics, Outcome
from ml_service.models.prompts import Fitted, fit_turns, too_long
from shared.contracts.generation import Candidate, FinishReason, GenerateRequest, GenerateResponse, TokenEvent
from shared.errors import AppError, BadRequest, NotFound, Unavailable

LONG_PROMPT_CHARACTERS: Final = 20_000
"""Longer ones are tokenised in a thread, so that they do not hold up other requests' tokens."""

FindAdapter = Callable[[str], Adapter]

_encode = msgspec.json.encode


def no_adapters(_adapter_id: str) -> Adapter:
    """Finds adapters where none can exist, because nothing trains them.

    Raises:
        NotFound: always.
    """
    raise NotFound("No adapter with this id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request that can be generated: which model, which tokens, and the key of its answer."""

    model: LoadedModel
    adapter: Adapter | None
    version: str
    prompt: list[int]
    dropped: int
    sampling: Sampling
    key: str


class GenerationService:
    """Generates answers, or finds them."""

    def __init__(
        self, supervisor: EngineSupervisor, cache: ResponseCache, metrics: Metrics, find_adapter: FindAdapter = no_adapters
    ) -> None:
        self._supervisor = supervisor
        self._cache = cache
        self._metrics = metrics
        self._find_adapter = find_adapter
        self._flights = Flights()

    async def generate(self, request: GenerateRequest) -> GenerateResponse:
        """The whole answer. Cancelling it aborts the generation, unless someone else waits for the same answer.

        Raises:
            BadRequest: neither or both of prompt and messages, or a prompt that does not fit the context window.
            NotFound: no such adapter.
            Unavailable: no engine at the moment, or its queue is full.
        """
        with self._outcome() as outcome:
            prepared = await self._prepare(request)
            candidates = await self._find_cached(request, prepared)
            if candidates is not None:
                outcome.name = "cached"
                return _response(prepared, candidates, cached=True)
            with self._board(request, prepared) as flight:
                return _response(prepared, _candidates(await flight.landed()), cached=False)

    async def check(self, request: GenerateRequest) -> None:
        """Raise what `generate` would raise about the request itself; while there is no engine, as far as can be told without one.

        Raises:
            BadRequest, NotFound: as `generate`.
        """
        with suppress(EngineAway):
            await self._prepare(request)

    async def events(self, request: GenerateRequest) -> AsyncGenerator[bytes, None]:
        """The answer as server-sent events: `token` …, then exactly one `completed` or `failed`.

        What goes wrong before the first token is raised as by `generate`; later it is the `failed` event. Closing the iterator
        is leaving: see `generate`.
        """
        with self._outcome() as outcome:
            prepared = await self._prepare(request)
            candidates = await self._find_cached(request, prepared)
            if candidates is not None:
                outcome.name = "cached"
                for index, candidate in enumerate(candidates):
                    yield _event(b"token", TokenEvent(text=candidate.text, index=index))
                yield _event(b"completed", _response(prepared, candidates, cached=True))
                return
            with self._board(request, prepared) as flight:
                begun = False
                try:
                    async for delta in flight.listen():
                        if delta.text:
                            begun = True
                            yield _event(b"token", TokenEvent(text=delta.text, index=delta.index))
                except AppError as error:
                    if not begun:
                        raise
                    outcome.name = "failed"
                    yield b"event: failed\ndata: " + body_of(error) + b"\n\n"
                    return
                yield _event(b"completed", _response(prepared, _candidates(await flight.landed()), cached=False))

    def _outcome(self) -> "_Outcome":
        return _Outcome(self._metrics)

    async def _prepare(self, request: GenerateRequest) -> Prepared:
        if (request.prompt is None) == (request.messages is None):
            raise BadRequest.field("prompt", "exactly one of prompt and messages must be given")
        model = self._supervisor.serving()
        adapter = self._find_adapter(request.adapter_id) if request.adapter_id is not None else None
        fitted = await _render(model, request)
        sampling = Sampling(
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            repetition_penalty=request.repeat_penalty,
            stop=tuple(request.stop),
            seed=request.seed,
            n=request.n,
        )
        version = f"{model.entry.name}+{adapter.name}" if adapter else model.entry.name
        if request.cache_key is not None:
            key = named_key(request.scope, version, request.cache_key)
        else:
            key = answer_key(request.scope, version, fitted.tokens, sampling)
        return Prepared(
            model=model, adapter=adapter, version=version, prompt=fitted.tokens, dropped=fitted.dropped, sampling=sampling, key=key
        )

    async def _find_cached(self, request: GenerateRequest, prepared: Prepared) -> list[Candidate] | None:
        if not request.use_cache:
            return None
        candidates = await self._cache.get(prepared.key)
        self._metrics.cache.labels("miss" if candidates is None else "hit").inc()
        return candidates

    def _board(self, request: GenerateRequest, prepared: Prepared) -> Seat:
        def start() -> AsyncGenerator[Delta, None]:
            return self._timed(prepared)

        async def land(deltas: list[Delta]) -> None:
            await self._cache.put(prepared.key, _candidates(deltas))

        return self._flights.join(prepared.key, start, land, alone=not request.use_cache)

    async def _timed(self, prepared: Prepared) -> AsyncGenerator[Delta, None]:
        started = time.perf_counter()
        deltas = prepared.model.engine.generate(prepared.prompt, prepared.sampling, prepared.adapter)
        async for delta in deltas:
            if started:
                self._metrics.first_token.observe(time.perf_counter() - started)
                started = 0.0
            yield delta


class _Outcome:
    """Counts how a request ended; `name` may be set to what is no exception."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.name: Outcome = "completed"

    def __enter__(self) -> "_Outcome":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self.name = "abandoned"
        elif isinstance(error, Unavailable):
            self.name = "unavailable"
        elif isinstance(error, BadRequest | NotFound):
            self.name = "refused"
        elif error is not None:
            self.name = "failed"
        self._metrics.requests.labels(self.name).inc()


async def _render(model: LoadedModel, request: GenerateRequest) -> Fitted:
    """The prompt's tokens. A prompt fits when `max_tokens` more still fit the window, so that no answer is cut short by it."""
    limit = model.engine.context_length - request.max_tokens
    characters = len(request.prompt or "") + sum(len(turn.content) for turn in request.messages or [])

    def render() -> Fitted:
        if request.messages is not None:
            return fit_turns(model.renderer, request.messages, limit, drop_oldest=request.overflow == "drop_oldest")
        tokens = model.renderer.text(request.prompt or "")
        if len(tokens) > limit:
            raise too_long("prompt", len(tokens), limit)
        return Fitted(tokens, 0)

    return render() if characters < LONG_PROMPT_CHARACTERS else await asyncio.to_thread(render)


def _candidates(deltas: list[Delta]) -> list[Candidate]:
    """Put the deltas of each answer together, in the answers' order."""
    texts: dict[int, list[str]] = {}
    tokens: dict[int, int] = {}
    probabilities: dict[int, float] = {}
    reasons: dict[int, FinishReason] = {}
    for delta in deltas:
        index = delta.index
        texts.setdefault(index, []).append(delta.text)
        tokens[index] = tokens.get(index, 0) + delta.tokens
        probabilities[index] = probabilities.get(index, 0.0) + delta.probability_sum
        if delta.finish_reason is not None:
            reasons[index] = delta.finish_reason
    return [
        Candidate(
            text="".join(texts[index]),
            confidence=round(min(probabilities[index] / max(tokens[index], 1), 1.0), 4),
            tokens_used=tokens[index],
            finish_reason=reasons.get(index, "stop"),
        )
        for index in sorted(texts)
    ]


def _response(prepared: Prepared, candidates: list[Candidate], *, cached: bool) -> GenerateResponse:
    first = candidates[0]
    return GenerateResponse(
        response=first.text,
        confidence=first.confidence,
        model_version=prepared.version,
        tokens_used=sum(candidate.tokens_used for candidate in candidates),
        cached=cached,
        finish_reason=first.finish_reason,
        candidates=candidates,
        dropped_messages=prepared.dropped,
    )


def _event(name: bytes, data: TokenEvent | GenerateResponse) -> bytes:
    return b"event: " + name + b"\ndata: " + _encode(data) + b"\n\n"
