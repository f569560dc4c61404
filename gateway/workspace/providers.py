"""Models behind OpenAI's chat protocol: the ML service's base model, and others that the operator has named."""

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

from gateway.settings import Settings, parse_provider
from gateway.workspace.schemas import TokenUsage, usage
from shared.errors import Unavailable
from shared.replicas import Rotation
from shared.tracing import trace_headers

MAX_TOKENS: Final = 2048
"""Of a turn."""
TEMPERATURE: Final = 0.2
_CONNECT_SECONDS: Final = 2.0
_SILENT_SECONDS: Final = 120.0
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
        self._parameters = parameters
        self._model_name = model
        self._client = AsyncOpenAI(
            api_key=key or "none",
            timeout=Timeout(_SILENT_SECONDS, connect=_CONNECT_SECONDS),
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(trust_env=False),
        )

    async def close(self) -> None:
        await self._client.close()

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
                models = (await self._client.with_options(base_url=url).models.list()).data
            except openai.OpenAIError as error:
                self._note(url, error)
                continue
            if models:
                window = (models[0].model_extra or {}).get("max_model_len")
                return Model(models[0].id, window if isinstance(window, int) else _USUAL_WINDOW, url)
        raise _away()

    async def turn(self, model: Model, messages: Sequence[dict[str, str]], schema: dict[str, Any]) -> AsyncGenerator[str | Said, None]:
        """A turn in JSON of this schema: its text piece by piece, then the whole, which is always the last.

        Raises:
            PromptTooLong: the provider refused the request; a shorter one may do.
            Unavailable: the provider is away, or stopped in the middle.
        """
        pieces: list[str] = []
        tokens, reason = TokenUsage(), None
        try:
            request: dict[str, Any] = {
                "model": model.name,
                "messages": list(messages),
                "max_completion_tokens": MAX_TOKENS,
                "temperature": TEMPERATURE,
                "response_format": {"type": "json_schema", "json_schema": {"name": "turn", "schema": schema}},
                "stream_options": {"include_usage": True},
            }
            client = self._client.with_options(base_url=model.url)
            stream = await client.chat.completions.create(
                **request, stream=True, extra_body=self._parameters, extra_headers=trace_headers()
            )
            async with stream:
                async for chunk in stream:
                    if chunk.usage is not None:
                        tokens = usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
                    for choice in chunk.choices:
                        reason = choice.finish_reason or reason
                        if choice.delta.content:
                            pieces.append(choice.delta.content)
                            yield choice.delta.content
        except openai.BadRequestError as error:
            raise PromptTooLong from error
        except openai.OpenAIError as error:
            self._note(model.url, error)
            raise _away() from error
        if reason is None:
            raise Unavailable("The model stopped in the middle of its turn; try again")
        yield Said("".join(pieces), tokens, reason)

    def _note(self, url: str, error: openai.OpenAIError) -> None:
        if isinstance(error, openai.APIConnectionError):
            self._rotation.leave(url)


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
