"""From a request to its answer: prompt, cache, single flight, engine. What waits and what streams goes the same way."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import structlog

from ml_service.adapters.manifest import StoredAdapter
from ml_service.adapters.registry import UNUSABLE, AdapterRegistry
from ml_service.adapters.storage import StoreAway
from ml_service.cache.flights import Flights, Seat
from ml_service.cache.keys import answer_key, named_key
from ml_service.cache.response_cache import Found, ResponseCache
from ml_service.engine.fair_queue import FairQueue
from ml_service.engine.protocol import Delta, EngineAway, LoadedModel, Sampling
from ml_service.engine.supervisor import EngineSupervisor
from ml_service.errors import body_of
from ml_service.metrics import Metrics, Outcome
from ml_service.models.fitting import Fitted, fit_text, fit_turns
from shared.contracts.generation import Candidate, FinishReason, GenerateRequest, GenerateResponse, TokenEvent
from shared.errors import AppError, BadRequest, Conflict, NotFound, Unavailable

LONG_PROMPT_CHARACTERS: Final = 20_000
"""Longer ones are tokenised in a thread, so that they do not hold up other requests' tokens."""
MOST_ANSWER_TOKENS: Final = 4096
"""Tokens that all answers of one request may have together: with several answers each may be shorter than `max_tokens`."""

_encode = msgspec.json.encode
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request that can be generated: whose it is, which model and adapter, which tokens, and the key of its answer."""

    scope: str
    model: LoadedModel
    adapter: StoredAdapter | None
    version: str
    prompt: list[int]
    dropped: int
    sampling: Sampling
    key: str


class GenerationService:
    """Generates answers, or finds them."""

    def __init__(
        self,
        supervisor: EngineSupervisor,
        cache: ResponseCache,
        metrics: Metrics,
        adapters: AdapterRegistry,
        engine_queue: FairQueue,
        prompt_tokens: int | None,
    ) -> None:
        """`prompt_tokens`: how many a prompt may have whose oldest turns may be dropped; None: as many as fit the context window."""
        self._supervisor = supervisor
        self._cache = cache
        self._metrics = metrics
        self._adapters = adapters
        self._engine_queue = engine_queue
        self._prompt_tokens = prompt_tokens
        self._flights = Flights()

    async def generate(self, request: GenerateRequest) -> GenerateResponse:
        """The whole answer. Cancelling it aborts the generation, unless someone else waits for the same answer.

        Raises:
            BadRequest: neither or both of prompt and messages, or a prompt that does not fit the context window.
            AdapterNotFound, AdapterSetAside, AdapterRefused, StoreAway: its adapter cannot be used, and the request asks for no fallback.
            Unavailable: no engine at the moment, or its queue is full.
        """
        with self._outcome() as outcome:
            try:
                return await self._generate(request, outcome)
            except (*UNUSABLE, StoreAway) as error:
                return await self._generate(self._fallback(request, error), outcome)

    async def check(self, request: GenerateRequest) -> None:
        """Raise what `generate` would raise about the request itself; while there is no engine, as far as can be told without one.

        Raises:
            BadRequest, AdapterNotFound, AdapterSetAside, AdapterRefused: as `generate`.
        """
        _check_prompt(request)
        try:
            await self._prepare(request, self._supervisor.serving())
        except (EngineAway, StoreAway):
            pass
        except UNUSABLE:
            if request.adapter_fallback == "refuse":
                raise

    async def events(self, request: GenerateRequest) -> AsyncGenerator[bytes, None]:
        """The answer as server-sent events: `token` …, then exactly one `completed` or `failed`.

        What goes wrong before the first token is raised as by `generate`; later it is the `failed` event. Closing the iterator
        is leaving: see `generate`.
        """
        with self._outcome() as outcome:
            try:
                async with aclosing(self._events(request, outcome)) as events:
                    async for event in events:
                        yield event
                return
            except (*UNUSABLE, StoreAway) as error:  # comes before the first event, or not at all
                request = self._fallback(request, error)
            async with aclosing(self._events(request, outcome)) as events:
                async for event in events:
                    yield event

    async def _generate(self, request: GenerateRequest, outcome: "_Outcome") -> GenerateResponse:
        _check_prompt(request)
        prepared = await self._prepare(request, await self._supervisor.awake())
        found = await self._find_cached(request, prepared)
        if found.answer is not None:
            outcome.name = "cached"
            return _response(prepared, found.answer, cached=True)
        with self._board(request, prepared, found.epoch) as flight:
            return _response(prepared, _candidates(await flight.landed()), cached=False)

    async def _events(self, request: GenerateRequest, outcome: "_Outcome") -> AsyncGenerator[bytes, None]:
        _check_prompt(request)
        prepared = await self._prepare(request, await self._supervisor.awake())
        found = await self._find_cached(request, prepared)
        if found.answer is not None:
            outcome.name = "cached"
            for index, candidate in enumerate(found.answer):
                yield _event(b"token", TokenEvent(text=candidate.text, index=index))
            yield _event(b"completed", _response(prepared, found.answer, cached=True))
            return
        with self._board(request, prepared, found.epoch) as flight:
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

    def _fallback(self, request: GenerateRequest, error: AppError) -> GenerateRequest:
        """The same request without its adapter, if it allows that; else the error."""
        if request.adapter_fallback == "refuse":
            raise error
        log.warning("base model instead of an adapter", adapter_id=request.adapter_id, reason=type(error).__name__)
        self._metrics.adapter_fallbacks.inc()
        return replace(request, adapter_id=None)

    def _outcome(self) -> "_Outcome":
        return _Outcome(self._metrics)

    async def _prepare(self, request: GenerateRequest, model: LoadedModel) -> Prepared:
        adapter = await self._adapters.find(model, request.scope, request.adapter_id) if request.adapter_id is not None else None
        max_tokens = min(request.max_tokens, MOST_ANSWER_TOKENS // request.n)
        fitted = await self._render(model, request, max_tokens)
        sampling = Sampling(
            max_tokens=max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            repetition_penalty=request.repeat_penalty,
            stop=tuple(request.stop),
            seed=request.seed,
            n=request.n,
        )
        version = f"{model.entry.name}+{adapter.manifest.adapter_id}" if adapter else model.entry.name
        if request.cache_key is not None:
            key = named_key(request.scope, version, request.cache_key)
        else:
            key = answer_key(request.scope, version, fitted.tokens, sampling)
        return Prepared(
            scope=request.scope,
            model=model,
            adapter=adapter,
            version=version,
            prompt=fitted.tokens,
            dropped=fitted.dropped,
            sampling=sampling,
            key=key,
        )

    async def _find_cached(self, request: GenerateRequest, prepared: Prepared) -> Found:
        found = await self._cache.get(request.scope, prepared.key)
        if not request.use_cache:
            return replace(found, answer=None)
        self._metrics.cache.labels("miss" if found.answer is None else "hit").inc()
        return found

    def _board(self, request: GenerateRequest, prepared: Prepared, epoch: bytes | None) -> Seat:
        def start() -> AsyncGenerator[Delta, None]:
            return self._timed(prepared)

        async def land(deltas: list[Delta]) -> None:
            await self._cache.put(request.scope, prepared.key, _candidates(deltas), epoch)

        return self._flights.join(prepared.key, start, land, alone=not request.use_cache)

    async def _timed(self, prepared: Prepared) -> AsyncGenerator[Delta, None]:
        started = time.perf_counter()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._engine_queue.turn(prepared.scope, prepared.sampling.n))
            # The generation holds the adapter, not who asked for it: it must have been aborted before the adapter may leave the engine.
            loaded = await stack.enter_async_context(self._adapters.use(prepared.model, prepared.adapter)) if prepared.adapter else None
            deltas = prepared.model.engine.generate(prepared.prompt, prepared.sampling, loaded, scope=prepared.scope)
            await stack.enter_async_context(aclosing(deltas))
            async for delta in deltas:
                if started:
                    self._metrics.first_token.observe(time.perf_counter() - started)
                    started = 0.0
                yield delta

    async def _render(self, model: LoadedModel, request: GenerateRequest, max_tokens: int) -> Fitted:
        """The prompt's tokens. A prompt fits when `max_tokens` more still fit the window, so that no answer is cut short by it."""
        limit = model.engine.context_length - max_tokens
        turns, may_be_cut = request.messages, request.overflow == "drop_oldest"
        if turns is not None and may_be_cut and self._prompt_tokens is not None:
            limit = min(limit, self._prompt_tokens)

        def render() -> Fitted:
            if turns is not None:
                return fit_turns(model.renderer, turns, limit, drop_oldest=may_be_cut, cut_last=may_be_cut)
            return fit_text(model.renderer, request.prompt or "", limit)

        characters = len(request.prompt or "") + sum(len(turn.content) for turn in turns or [])
        return render() if characters < LONG_PROMPT_CHARACTERS else await asyncio.to_thread(render)


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
        elif isinstance(error, BadRequest | NotFound | Conflict):
            self.name = "refused"
        elif error is not None:
            self.name = "failed"
        self._metrics.requests.labels(self.name).inc()


def _check_prompt(request: GenerateRequest) -> None:
    if (request.prompt is None) == (request.messages is None):
        raise BadRequest.field("prompt", "exactly one of prompt and messages must be given")


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
