"""From a request to its answer: prompt, cache, single flight, engine. What waits reads what streams."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import structlog

from ml_service.adapters.registry import UNUSABLE, AdapterRegistry
from ml_service.cache.keys import answer_key, named_key
from ml_service.cache.response_cache import ResponseCache
from ml_service.cache.single_flight import SingleFlight
from ml_service.engine.fair_queue import FairQueue
from ml_service.engine.protocol import Delta, EngineAway, LoadedModel, Sampling
from ml_service.engine.supervisor import EngineSupervisor
from ml_service.metrics import Metrics, Outcome
from ml_service.models.catalogue import has_gpu
from ml_service.models.fitting import Fitted, fit_text, fit_turns
from ml_service.models.number_format import CPU_STEP_TOKENS, cpu_number_format
from ml_service.settings import Settings
from shared.adapter_store.manifest import Manifest
from shared.adapter_store.storage import StoreAway
from shared.contracts.generation import Candidate, GenerateRequest, GenerateResponse, TokenEvent
from shared.errors import BadRequest, Conflict, NotFound, Unavailable

MOST_ANSWER_TOKENS: Final = 4096
"""Tokens that all answers of one request may have together: with several answers each may be shorter than `max_tokens`."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request that can be generated: with which model and adapter, from which tokens, and under which key its answer is kept."""

    model: LoadedModel
    adapter: Manifest | None
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
        """`prompt_tokens`: see `most_prompt_tokens`."""
        self._supervisor = supervisor
        self._cache = cache
        self._metrics = metrics
        self._adapters = adapters
        self._engine_queue = engine_queue
        self._prompt_tokens = prompt_tokens
        self._single_flight = SingleFlight()

    async def generate(self, request: GenerateRequest) -> GenerateResponse:
        """The whole answer at once; otherwise as `stream`."""
        async with aclosing(self.stream(request)) as events:
            [answer] = [event async for event in events if isinstance(event, GenerateResponse)]
        return answer

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[TokenEvent | GenerateResponse, None]:
        """The answer's text as it is generated, and at the end all of it.

        Closing the iterator aborts the generation, unless someone else waits for the same answer.

        Raises:
            BadRequest: neither or both of prompt and messages, or a prompt that does not fit the context window.
            AdapterNotFound, AdapterSetAside, AdapterRefused, StoreAway: its adapter cannot be used, and the request asks for no fallback.
            Unavailable: no engine at the moment, or its queue is full.
            AppError: the generation failed, maybe after its first text.
        """
        outcome: Outcome = "failed"
        try:
            async with aclosing(self._with_fallback(request)) as events:
                async for event in events:
                    if isinstance(event, GenerateResponse):
                        outcome = "cached" if event.cached else "completed"
                    yield event
        except BaseException as error:
            outcome = _outcome_of(error)
            raise
        finally:
            self._metrics.requests.labels(outcome).inc()

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

    async def _with_fallback(self, request: GenerateRequest) -> AsyncGenerator[TokenEvent | GenerateResponse, None]:
        while True:
            try:
                async with aclosing(self._answer(request)) as events:
                    async for event in events:
                        yield event
                return
            except (*UNUSABLE, StoreAway) as error:  # comes before the first event, or not at all
                if request.adapter_id is None or request.adapter_fallback == "refuse":
                    raise
                log.warning("base model instead of an adapter", adapter_id=request.adapter_id, reason=type(error).__name__)
                self._metrics.adapter_fallbacks.inc()
                request = replace(request, adapter_id=None)

    async def _answer(self, request: GenerateRequest) -> AsyncGenerator[TokenEvent | GenerateResponse, None]:
        _check_prompt(request)
        prepared = await self._prepare(request, await self._supervisor.awake())
        found = await self._cache.get(request.scope, prepared.key)
        if request.use_cache:
            self._metrics.cache.labels("miss" if found.answer is None else "hit").inc()
            if found.answer is not None:
                for index, candidate in enumerate(found.answer):
                    yield TokenEvent(text=candidate.text, index=index)
                yield _response(prepared, found.answer, cached=True)
                return

        async def keep(deltas: list[Delta]) -> None:
            await self._cache.put(request.scope, prepared.key, _candidates(deltas), found.epoch)

        deltas: list[Delta] = []
        start = partial(self._generate, request.scope, prepared)
        async with aclosing(self._single_flight.subscribe(prepared.key, start, keep, alone=not request.use_cache)) as generation:
            async for delta in generation:
                deltas.append(delta)
                if delta.text:
                    yield TokenEvent(text=delta.text, index=delta.index)
        yield _response(prepared, _candidates(deltas), cached=False)

    async def _generate(self, scope: str, prepared: Prepared) -> AsyncGenerator[Delta, None]:
        """Wait for a place and for the adapter, then generate.

        This holds the adapter, and not each request that waits: it must have been aborted before the adapter may leave the engine.
        """
        began = time.perf_counter()
        model, sampling = prepared.model, prepared.sampling
        adapter = self._adapters.use(model, prepared.adapter) if prepared.adapter is not None else nullcontext()
        async with (
            self._engine_queue.turn(scope, sampling.n),
            adapter as loaded,
            aclosing(model.engine.generate(prepared.prompt, sampling, loaded, scope=scope)) as deltas,
        ):
            first = True
            async for delta in deltas:
                if first:
                    self._metrics.first_token.observe(time.perf_counter() - began)
                    first = False
                yield delta

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
        version = f"{model.entry.name}+{adapter.adapter_id}" if adapter else model.entry.name
        if request.cache_key is not None:
            key = named_key(request.scope, version, request.cache_key)
        else:
            key = answer_key(request.scope, version, fitted.tokens, sampling)
        return Prepared(
            model=model,
            adapter=adapter,
            version=version,
            prompt=fitted.tokens,
            dropped=fitted.dropped,
            sampling=sampling,
            key=key,
        )

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

        return await asyncio.to_thread(render)  # a long prompt must not hold up other requests' tokens


def most_prompt_tokens(settings: Settings) -> int | None:
    """How many tokens a prompt may have whose oldest turns may be dropped; None: as many as fit the context window."""
    if settings.max_prompt_tokens is not None:
        return settings.max_prompt_tokens
    if settings.engine == "scripted" or has_gpu():
        return None
    return CPU_STEP_TOKENS[cpu_number_format(settings.cpu_number_format)]


def _outcome_of(error: BaseException) -> Outcome:
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "abandoned"
    if isinstance(error, Unavailable):
        return "unavailable"
    return "refused" if isinstance(error, BadRequest | NotFound | Conflict) else "failed"


def _check_prompt(request: GenerateRequest) -> None:
    if (request.prompt is None) == (request.messages is None):
        raise BadRequest.field("prompt", "exactly one of prompt and messages must be given")


def _candidates(deltas: list[Delta]) -> list[Candidate]:
    """Put the deltas of each answer together, in the answers' order."""
    answers: dict[int, list[Delta]] = {}
    for delta in deltas:
        answers.setdefault(delta.index, []).append(delta)
    return [_candidate(answers[index]) for index in sorted(answers)]


def _candidate(deltas: list[Delta]) -> Candidate:
    tokens = sum(delta.tokens for delta in deltas)
    return Candidate(
        text="".join(delta.text for delta in deltas),
        confidence=round(min(sum(delta.probability_sum for delta in deltas) / max(tokens, 1), 1.0), 4),
        tokens_used=tokens,
        finish_reason=deltas[-1].finish_reason or "stop",
    )


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
