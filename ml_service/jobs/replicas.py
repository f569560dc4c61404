"""The ML service's replicas as a worker sees them: a request in, the pieces of its answer out."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus
from typing import Final

import httpx
import msgspec

from ml_service.jobs.queue import JobFailed
from shared import sse
from shared.contracts.generation import GenerateRequest, GenerateResponse, TokenEvent
from shared.errors import ErrorBody
from shared.http_client import CONNECT_SECONDS, PooledTransport
from shared.replicas import Rotation
from shared.tracing import trace_headers

PASSING: Final = frozenset({401, 403, 408, 421, 429, 502, 503, 504})
"""Refusals that are not the request's fault and will pass; a wrong token too, once someone has put it right."""

_encode = msgspec.json.encode
_tokens = msgspec.json.Decoder(TokenEvent)
_answers = msgspec.json.Decoder(GenerateResponse)
_errors = msgspec.json.Decoder(ErrorBody)


class GenerationError(JobFailed):
    """There is no answer."""


class ModelAway(GenerationError):
    """No replica can generate now; later one will."""


class GenerationBroke(GenerationError):
    """The replica works, but not with this request; another try may go better."""


class RequestRefused(GenerationError):
    """The request cannot be generated; another try will go the same way."""


class Replicas:
    """Generates on any of several replicas. Closing the iterator aborts the generation.

    An answer of which nothing new has come for `stall_seconds` is given up.
    """

    def __init__(self, urls: Sequence[str], token: str, stall_seconds: float) -> None:
        self._rotation = Rotation(urls)
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS, read=stall_seconds),
            transport=PooledTransport(),
            trust_env=False,
        )
        # Instead of httpx's own: what it adds nobody reads, and each header is looked at several times a call.
        self._client.headers = httpx.Headers({"Content-Type": "application/json"})
        if token:
            self._client.headers["Authorization"] = f"Bearer {token}"

    async def close(self) -> None:
        await self._client.aclose()

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[TokenEvent | GenerateResponse, None]:
        """The text as it comes, then the whole answer, which is always the last.

        A scope's requests go to the same replica while it is there, because its prompts and adapter are warm; else to the next.

        Raises:
            ModelAway, GenerationBroke, RequestRefused: at any time.
        """
        body = _encode(replace(request, stream=True))
        reason = ModelAway("The model is not reachable")
        for url in self._rotation.order(request.scope):
            begun = False
            try:
                async with aclosing(self._generate_on(url, body)) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
                return
            except ModelAway as error:
                if begun:  # whoever has seen the first half must not be given another first half
                    raise
                reason = error
        raise reason

    async def _generate_on(self, url: str, body: bytes) -> AsyncGenerator[TokenEvent | GenerateResponse, None]:
        try:
            async with self._client.stream("POST", f"{url}/generate", content=body, headers=trace_headers()) as response:
                if response.status_code != HTTPStatus.OK:
                    raise _translated(response.status_code, await response.aread())
                async for event in sse.parse(response.aiter_raw()):
                    match event.name:
                        case "token":
                            yield _tokens.decode(event.data)
                        case "completed":
                            yield _answers.decode(event.data)
                            return
                        case "failed":
                            raise _translated(_errors.decode(event.data).statusCode, event.data)
        except httpx.HTTPError as error:
            self._rotation.leave(url)
            raise ModelAway("The model is not reachable") from error
        except msgspec.MsgspecError as error:
            raise GenerationBroke("The model gave an unusable answer") from error
        raise ModelAway("The model stopped in the middle of the answer")


def _translated(status: int, body: bytes) -> GenerationError:
    try:
        message = _errors.decode(body).message
    except msgspec.MsgspecError:  # a proxy's page, or nothing
        message = "The model gave an unusable answer"
    if status in PASSING:
        return ModelAway(message)
    return GenerationBroke(message) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else RequestRefused(message)
