"""The ML service as the gateway sees it: one typed method a call. Foreign errors are translated here and nowhere else."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import TypeVar
from uuid import UUID

import httpx
import msgspec
import structlog

from shared import sse
from shared.asgi import current_request_id
from shared.contracts.adapters import AdapterInfo, AdapterList
from shared.contracts.generation import GenerateRequest, GenerateResponse, TokenEvent
from shared.contracts.jobs import AsyncGenerateRequest, JobState
from shared.contracts.service import ForgetRequest, Forgotten, Health, ModelList
from shared.contracts.training import TrainingRequest, TrainingState
from shared.errors import AppError, BadRequest, Conflict, ErrorBody, Unavailable
from shared.http_client import CONNECT_SECONDS, PooledTransport
from shared.replicas import Rotation
from shared.tracing import trace_headers

_READY_SECONDS = 2.0
# What is asked about jobs is answered from the queue, not by the model.
_JOB_SECONDS = 5.0
# A training's samples are some ten megabytes at most.
_SAMPLES_SECONDS = 60.0
_ELSEWHERE = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
_RETRY_SECONDS = 5
_LONGEST_RETRY_SECONDS = 3600

T = TypeVar("T")
_logger = structlog.get_logger(__name__)


class MlClient:
    """Talks to the ML service's replicas over pooled connections. What one cannot do now is asked of the next.

    Every method but `is_ready` raises `Unavailable` when the service is away, busy, slow or answers what nobody expects. Cancelling a
    call closes its connection, which makes the service abort the generation.
    """

    def __init__(self, urls: Sequence[str], token: str, timeout_seconds: float) -> None:
        self._rotation = Rotation(urls)
        self._timeout_seconds = timeout_seconds
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),  # httpx knows no timeout for a whole call: see `_ask`
            transport=PooledTransport(),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Generate and wait for the whole answer.

        Raises:
            BadRequest: the message alone is longer than the model's context window.
            Unavailable: see the class.
        """
        return _decoded(await self._ask("POST", "/generate", request, scope=request.scope), GenerateResponse)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[TokenEvent | GenerateResponse, None]:
        """Generate: the tokens as they come, and last the whole answer. Closing the generator aborts the generation.

        Raises:
            As `generate`, before the first token or between two.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout_seconds
        with _foreign_errors():
            async with asyncio.timeout_at(deadline):
                response = await self._send("POST", "/generate", replace(request, stream=True), request.scope, stream=True)
            async with aclosing(response):
                if not response.is_success:
                    async with asyncio.timeout_at(deadline):
                        raise _refusal(response.status_code, await response.aread(), response.headers.get("Retry-After"))
                events = sse.parse(response.aiter_raw())
                while True:
                    async with asyncio.timeout_at(deadline):  # not around a `yield`: it would cancel whatever the caller waits for
                        event = await anext(events, None)
                    match event:
                        case sse.ServerSentEvent("token", data):
                            yield _decoded(data, TokenEvent)
                        case sse.ServerSentEvent("completed", data):
                            yield _decoded(data, GenerateResponse)
                            return
                        case sse.ServerSentEvent("failed", data):
                            raise _refusal(_decoded(data, ErrorBody).statusCode, data)
                        case None:
                            raise Unavailable("The model stopped in the middle of the draft; try again")

    async def enqueue(self, request: AsyncGenerateRequest) -> None:
        """Have a job accepted that will be generated when its turn comes. A job that is there already is fine.

        Raises:
            As `generate`; `Unavailable` also when too many jobs wait. If it was the answer that got lost, the job is there all the same.
        """
        await self._ask("POST", "/generate/async", request, also=[HTTPStatus.CONFLICT], seconds=_JOB_SECONDS)

    async def job_state(self, job_id: UUID) -> JobState | None:
        """How far a job is; None when there is no such job, or none any more."""
        response = await self._ask("GET", f"/generate/status/{job_id}", also=[HTTPStatus.NOT_FOUND], seconds=_JOB_SECONDS)
        return None if response.status_code == HTTPStatus.NOT_FOUND else _decoded(response, JobState)

    async def cancel_job(self, job_id: UUID) -> None:
        """End a job, whether it waits or runs. One that has ended, or that there is not, is fine."""
        ended = [HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT]
        await self._ask("POST", f"/generate/cancel/{job_id}", also=ended, seconds=_JOB_SECONDS)

    async def forget(self, request: ForgetRequest) -> bool:
        """Have things forgotten; False while something is left: ask again later."""
        return _decoded(await self._ask("POST", "/forget", request, seconds=_SAMPLES_SECONDS), Forgotten).complete

    async def start_training(self, request: TrainingRequest) -> None:
        """Have a training accepted that will run when its turn comes. One that is there already is fine.

        Raises:
            BadRequest: it cannot be trained so; the field is named as our own clients know it.
            Conflict: the adapter that it shall be compared with is gone.
            Unavailable: see the class. If it was the answer that got lost, the training is there all the same.
        """
        answers = [HTTPStatus.CONFLICT, HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE]
        response = await self._ask("POST", "/training/start", request, also=answers, seconds=_SAMPLES_SECONDS)
        if response.status_code == HTTPStatus.BAD_REQUEST:
            raise _training_refusal(_refused_fields(response.content))
        if response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise BadRequest.field("sampleIds", "this is too much text for one training; choose fewer samples")

    async def training_state(self, job_id: UUID) -> TrainingState | None:
        """How far a training is; None when there is no such job, or none any more."""
        response = await self._ask("GET", f"/training/status/{job_id}", also=[HTTPStatus.NOT_FOUND], seconds=_JOB_SECONDS)
        return None if response.status_code == HTTPStatus.NOT_FOUND else _decoded(response, TrainingState)

    async def adapters(self, account_id: UUID) -> list[AdapterInfo]:
        """The adapters of an account that are there, newest first."""
        return _decoded(await self._ask("GET", f"/adapters?scope={account_id}", seconds=_JOB_SECONDS), AdapterList).adapters

    async def health(self) -> Health:
        """How a replica is that can generate, or how one is that cannot, where none can."""
        unwell = [HTTPStatus.SERVICE_UNAVAILABLE]
        return _decoded(await self._ask("GET", "/health", also=unwell, seconds=_READY_SECONDS), Health)

    async def models(self) -> ModelList:
        """The models that can be asked for by name."""
        return _decoded(await self._ask("GET", "/models", seconds=_READY_SECONDS), ModelList)

    async def is_ready(self) -> bool:
        """Whether one of them can generate now."""
        return any(await asyncio.gather(*map(self._is_ready, self._rotation.order(""))))

    async def _is_ready(self, url: str) -> bool:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                return (await self._client.get(f"{url}/health")).status_code == HTTPStatus.OK
        except (TimeoutError, httpx.RequestError):
            return False

    async def _ask(
        self, method: str, path: str, body: object = None, *, also: Sequence[int] = (), seconds: float | None = None, scope: str = ""
    ) -> httpx.Response:
        """The whole answer to a call, if it is good or has one of the statuses in `also`.

        Raises:
            AppError: it has none of those, or did not come within `seconds` (by default what a draft may take).
        """
        with _foreign_errors():
            async with asyncio.timeout(seconds or self._timeout_seconds):
                response = await self._send(method, path, body, scope)
        if not response.is_success and response.status_code not in also:
            raise _refusal(response.status_code, response.content, response.headers.get("Retry-After"))
        return response

    async def _send(self, method: str, path: str, body: object, scope: str, *, stream: bool = False) -> httpx.Response:
        """What a replica answers that can do it, else the last one. Every call may be made twice: what has an id is made once.

        Raises:
            httpx.RequestError: the last one is not reachable either.
        """
        *others, last = self._rotation.order(scope)
        for url in others:
            try:
                response = await self._client.send(self._request(method, url + path, body), stream=stream)
            except httpx.RequestError as error:
                _logger.warning("ml replica away", url=url, error=type(error).__name__)
                self._rotation.leave(url)
                continue
            if response.status_code not in _ELSEWHERE:
                return response
            await response.aclose()
        return await self._client.send(self._request(method, last + path, body), stream=stream)

    def _request(self, method: str, url: str, body: object) -> httpx.Request:
        headers = {"Content-Type": "application/json", **trace_headers()}
        if (request_id := current_request_id()) is not None:
            headers["X-Request-Id"] = request_id
        content = msgspec.json.encode(body) if body is not None else None
        return self._client.build_request(method, url, content=content, headers=headers)


@contextmanager
def _foreign_errors() -> Iterator[None]:
    """Around all that talks to the service: what goes wrong there is `Unavailable` here."""
    try:
        yield
    except TimeoutError as error:
        raise Unavailable("The model took too long; try again in a moment", retry_after=_RETRY_SECONDS) from error
    except httpx.RequestError as error:
        _logger.warning("ml service away", error=type(error).__name__)
        raise Unavailable("The model is not reachable; try again in a moment") from error


def _decoded(answer: httpx.Response | bytes, answer_type: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.content if isinstance(answer, httpx.Response) else answer, type=answer_type)
    except msgspec.MsgspecError as error:
        raise Unavailable("The model gave an answer that cannot be used; try again in a moment") from error


def _refused_fields(body: bytes) -> set[str]:
    """The fields that an error's body names, if it is one."""
    try:
        return {problem.field for problem in msgspec.json.decode(body, type=ErrorBody).details or []}
    except msgspec.MsgspecError:
        return set()


def _refusal(status: int, body: bytes, retry_after: str | None = None) -> AppError:
    """What a client of ours is told; the service's own words go nowhere."""
    fields = _refused_fields(body) if status == HTTPStatus.BAD_REQUEST else set()
    # What the service names when prompt and answer do not fit the model's context window.
    if "messages" in fields:
        return BadRequest.field(
            "messageId", "this message and a draft of context.maxTokens are longer than the model can take; ask for fewer"
        )
    if "max_tokens" in fields:
        return BadRequest.field("context.maxTokens", "leaves the model no room to read the message; ask for fewer")
    _logger.warning("ml service refused", status=status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        seconds = int(retry_after) if retry_after is not None and retry_after.isdecimal() else _RETRY_SECONDS
        wait = min(max(seconds, 1), _LONGEST_RETRY_SECONDS)
        return Unavailable("The model is busy or still loading; try again in a moment", retry_after=wait)
    return Unavailable("The model cannot draft at the moment; try again later", retry_after=_RETRY_SECONDS)


def _training_refusal(fields: set[str]) -> AppError:
    """What a client is told of a training that the service does not take; it looks at names, numbers and texts as we do, so what is left
    for it to refuse is what only it knows."""
    if "base_model" in fields:
        return BadRequest.field("baseModel", "there is no model of this name that can be trained here; choose one of the catalogue")
    if any(field.startswith("samples") for field in fields):
        return BadRequest.field("sampleIds", "these samples are too few, or not fit, to train with; choose others")
    if "method" in fields:
        return BadRequest.field("method", "these samples cannot be trained with so; choose the other method")
    if "baseline_adapter_id" in fields:
        return Conflict("The files of the adapter in use are gone, so nothing can be compared with it; deactivate it and start again")
    _logger.error("ml service does not take a training", fields=sorted(fields))
    return Unavailable("Training is not possible at the moment; try again later", retry_after=_RETRY_SECONDS)
