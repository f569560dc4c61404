"""Names of cached answers: `cache:<scope>:<digest>`, in which no text can be read. Beside them a scope has the set of its answers'
names, and a number that changes whenever it is forgotten."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from ml_service.engine.protocol import Sampling

PREFIX: Final = "cache:"


def answer_key(scope: str, model_version: str, prompt: Sequence[int], sampling: Sampling) -> str:
    """The key of an answer that is decided by its prompt and sampling; two scopes never share one."""
    return _key(scope, ["prompt", model_version, prompt, sampling])


def named_key(scope: str, model_version: str, name: str) -> str:
    """The key of an answer that the caller named itself."""
    return _key(scope, ["name", model_version, name])


def _key(scope: str, parts: list[object]) -> str:
    digest = blake2b(msgspec.msgpack.encode([scope, *parts]), digest_size=24).hexdigest()
    return f"{PREFIX}{scope}:{digest}"


def names_key(scope: str) -> str:
    """A sorted set of a scope's cached answers by when they run out."""
    return f"cached:{scope}"


def epoch_key(scope: str) -> str:
    """How often a scope was forgotten; there is none while nothing was forgotten lately."""
    return f"cache-epoch:{scope}"
