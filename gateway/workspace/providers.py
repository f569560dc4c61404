"""Models behind OpenAI's chat protocol: the ML service's base model, and others that the operator has named."""

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx
import msgspec
from msgspec import Struct

from gateway.settings import Settings, parse_provider
from gateway.workspace.schemas import TokenUsage, usage
from shared import sse
from shared.errors import Unavailable
from shared.http_client import CONNECT_SECONDS, PooledTransport
from shared.replicas import Rotation
from shared.tracing import trace_headers

MAX_TOKENS: Final = 2048
"""Of a turn."""
TEMPERATURE: Final = 0.2
_SILENT_SECONDS: Final = 120.0
_LIST_SECONDS: Final = 5.0
"""A replica that does not say sooner which model it has is passed over."""
_END: Final = b"[DONE]"
_USUAL_WINDOW: Final = 8_192
"""Tokens of a model that does not say how many it takes."""
_REPETITION: Final = {"repetition_detection": {"min_pattern_size": 2, "max_pattern_size": 32, "min_count": 20}}
"""What ends a turn in which so many tokens come so often in a row: small models write the same until they are cut off. vLLM's own."""


class PromptTooLong(Exception):
    """The model does not take a prompt as long as this."""


@dataclass(frozen=True, slots=True)
class Said:
    """A turn as the model wrote it. `finish_reason`: the protocol's, and vLLM's `repetition`."""

    text: str
    usage: TokenUsage
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model by its name, and how many tokens prompt and turn may have together. `url`: where it is asked."""

    name: str
    window: int
    url: str

    @property
    def prompt_tokens(self) -> int:
        return max(self.window - MAX_TOKENS, self.window // 2)


class _ModelCard(Struct):
    id: str
    max_model_len: int | None = None
    """vLLM's own."""


class _ModelList(Struct):
    data: list[_ModelCard]


class _Delta(Struct):
    content: str | None = None


class _Choice(Struct):
    delta: _Delta
    finish_reason: str | None = None


class _Usage(Struct):
    prompt_tokens: int
    completion_tokens: int


class _Chunk(Struct):
    """What a stream of the protocol is made of, as far as it is read here."""

    choices: list[_Choice] = []
    usage: _Usage | None = None


class Provider:
    """Asks one provider's model for turns. Closing an iterator aborts the generation.

    Args:
        name: what the operator calls it.
        urls: of its replicas, up to and with `/v1`.
        key: what it asks for; none if empty.
        model: the model's name; none: the first that it has.
        parameters: what it is asked for beside the protocol's.
    """

    def __init__(
        self, name: str, urls: Sequence[str], key: str, model: str | None = None, parameters: dict[str, Any] | None = None
    ) -> None:
        self.name = name
        self._rotation = Rotation(urls)
        self._parameters = parameters or {}
        self._model_name = model
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(_SILENT_SECONDS, connect=CONNECT_SECONDS),
            transport=PooledTransport(),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def model(self, scope: str) -> Model:
        """The model that answers: at the scope's own replica, if that one is there.

        Raises:
            Unavailable: the provider is away.
        """
        urls = self._rotation.order(scope)
        if self._model_name is not None:
            return Model(self._model_name, _USUAL_WINDOW, urls[0])
        for url in urls:
            try:
                with self._errors(url):
                    answer = (await self._client.get(f"{url}/models", timeout=_LIST_SECONDS)).raise_for_status()
                    models = msgspec.json.decode(answer.content, type=_ModelList).data
            except Unavailable:
                continue
            if models:
                return Model(models[0].id, models[0].max_model_len or _USUAL_WINDOW, url)
        raise _away()

    async def turn(self, model: Model, messages: Sequence[dict[str, str]], schema: dict[str, Any]) -> AsyncGenerator[str | Said, None]:
        """A turn in JSON of this schema: its text piece by piece, then the whole, which is always the last.

        Raises:
            PromptTooLong: the provider refused the request; a shorter one may do.
            Unavailable: the provider is away, or stopped in the middle.
        """
        body = {
            "model": model.name,
            "messages": list(messages),
            "max_completion_tokens": MAX_TOKENS,
            "temperature": TEMPERATURE,
            "response_format": {"type": "json_schema", "json_schema": {"name": "turn", "schema": schema}},
            "stream": True,
            "stream_options": {"include_usage": True},
            **self._parameters,
        }
        headers = {"Content-Type": "application/json", **trace_headers()}
        request = self._client.build_request("POST", f"{model.url}/chat/completions", content=msgspec.json.encode(body), headers=headers)
        pieces: list[str] = []
        tokens, reason = TokenUsage(), None
        with self._errors(model.url):
            answer = await self._client.send(request, stream=True)
            async with aclosing(answer):
                if answer.status_code == HTTPStatus.BAD_REQUEST:
                    raise PromptTooLong
                answer.raise_for_status()
                async for event in sse.parse(answer.aiter_bytes()):
                    if event.data == _END:
                        break
                    chunk = msgspec.json.decode(event.data, type=_Chunk)
                    if chunk.usage is not None:
                        tokens = usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
                    for choice in chunk.choices:
                        reason = choice.finish_reason or reason
                        if choice.delta.content:
                            pieces.append(choice.delta.content)
                            yield choice.delta.content
        if reason is None:
            raise Unavailable("The model stopped in the middle of its turn; try again")
        yield Said("".join(pieces), tokens, reason)

    @contextmanager
    def _errors(self, url: str) -> Iterator[None]:
        """Around all that talks to a replica: what goes wrong there is `Unavailable` here."""
        try:
            yield
        except httpx.RequestError as error:
            self._rotation.leave(url)
            raise _away() from error
        except (httpx.HTTPStatusError, msgspec.MsgspecError) as error:
            raise _away() from error


def chosen_provider(settings: Settings) -> Provider:
    """What the workspace assistant asks: the ML service's base model, or the provider that the operator has chosen."""
    if not settings.workspace_provider:
        urls = [f"{url.rstrip('/')}/v1" for url in settings.ml_service_url]
        return Provider("local", urls, settings.ml_service_token, parameters=_REPETITION)
    models = {provider.name: provider for provider in map(parse_provider, settings.workspace_providers)}
    keys = dict(key.partition("=")[::2] for key in settings.workspace_provider_keys)
    chosen = models[settings.workspace_provider]
    return Provider(chosen.name, [chosen.url], keys.get(chosen.name, ""), chosen.model)


def partial_answer(text: str) -> str:
    """As much as there is of the answer in a turn that is still being written; empty while it has none."""
    _, found, rest = text.partition('"answer"')
    _, quote, written = rest.lstrip().removeprefix(":").lstrip().partition('"')
    if not found or not quote:
        return ""
    end = len(written)
    position = 0
    while position < end:
        if written[position] == '"':
            end = position
        position += 2 if written[position : position + 1] == "\\" else 1
    for length in range(end, max(end - 7, -1), -1):  # an escape may be cut: the longest is \uXXXX
        try:
            return str(json.loads(f'"{written[:length]}"', strict=False))
        except ValueError:
            continue
    return ""


def _away() -> Unavailable:
    return Unavailable("The model is away, busy or still loading; try again in a moment")
