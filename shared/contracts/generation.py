"""Bodies of the ML service's `/generate` family."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from shared.contracts.names import BASE_SCOPE, Scope

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One chat turn. `content` is untrusted text: control tokens in it are never read as control tokens."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """What to generate: exactly one of `prompt` (raw text) and `messages` (chat turns, rendered with the model's template)."""

    prompt: Annotated[str, MinLen(1)] | None = None
    messages: Annotated[list[Turn], MinLen(1)] | None = None
    max_tokens: Annotated[int, Ge(1), Le(2048)] = 256
    """The longest answer; all `n` answers together have at most 4,096 tokens."""
    temperature: Annotated[float, Ge(0), Le(2)] = 0.7
    top_p: Annotated[float, Gt(0), Le(1)] = 0.9
    repeat_penalty: Annotated[float, Ge(0.5), Le(2)] = 1.1
    stop: Annotated[list[Annotated[str, MinLen(1), MaxLen(500)]], MaxLen(8)] = field(default_factory=list)
    seed: Annotated[int, Ge(0), Le(2**63 - 1)] | None = None
    n: Annotated[int, Ge(1), Le(4)] = 1
    adapter_id: Annotated[str, MinLen(1), MaxLen(200)] | None = None
    """A personal adapter's id, of this scope; none means the base model."""
    adapter_fallback: Literal["refuse", "base"] = "refuse"
    """An adapter that cannot be used (not there, damaged, made for another base model): refuse the request, or use the base model, which
    `model_version` then names alone."""
    scope: Scope = BASE_SCOPE
    cache_key: Annotated[str, MinLen(1), MaxLen(500)] | None = None
    """The caller's own name for this answer inside its scope; none means a digest of everything that decides the answer."""
    use_cache: bool = True
    """False generates anew and replaces what was cached."""
    overflow: Literal["refuse", "drop_oldest"] = "refuse"
    """A prompt longer than the model shall read: refuse it, or drop the oldest turns (never system turns, never the last one: that loses
    its beginning if it is too long by itself)."""
    stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One of the `n` drafts. `confidence` is the mean probability of its generated tokens, 0 to 1."""

    text: str
    confidence: float
    tokens_used: int
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateResponse:
    """The finished answer; `response`, `confidence` and `finish_reason` are the first candidate's, `tokens_used` is the sum."""

    response: str
    confidence: float
    model_version: str
    tokens_used: int
    cached: bool
    finish_reason: FinishReason
    candidates: list[Candidate]
    dropped_messages: int = 0
    """How many of the oldest turns did not fit the context window (only with `overflow: "drop_oldest"`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEvent:
    """Data of the stream's `token` events; after the last one comes exactly one `completed` (GenerateResponse) or `failed` (ErrorBody)."""

    text: str
    index: int = 0
