"""What both clients do for a call: tokens, repetitions, errors. Nothing here sends or waits.

Each step that needs the world is yielded, and the client sends back what came of it: a `Send` gets its response or an `Unreachable`, a
`Wait` gets nothing. So the rules are written once, and `Client` and `AsyncClient` only know how to send and how to wait.
"""

import base64
import random
import time
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from types import NoneType
from typing import Any, TypeAlias, TypeVar
from uuid import UUID, uuid4

import httpx
import msgspec
from msgspec import Struct

from assistant_client import endpoints
from assistant_client.device import this_device
from assistant_client.endpoints import Call
from assistant_client.errors import (
    AssistantError,
    Conflict,
    NotPaired,
    Refused,
    StoreError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    refusal_of,
)
from assistant_client.models import Pairing
from assistant_client.storage import Credentials, Lock, TokenStore

T = TypeVar("T")

_RENEW_AFTER = 0.8
"""The share of a token's life after which it is renewed."""
_LOCK_POLL_SECONDS = 0.05
_LOCK_PATIENCE_SECONDS = 60.0
_NOT_FOUND = 404
_OF_PROXIES = {502, 504}
"""A proxy had no answer from the gateway, which may have done it all the same."""


@dataclass(frozen=True, kw_only=True)
class Send:
    """Send this. With `stream` the response's body is still to be read, unless it is an error."""

    method: str
    path: str
    query: dict[str, Any]
    headers: dict[str, str]
    content: bytes | None
    stream: bool
    patience: float | None
    """How long to wait for the next piece of the answer, in seconds, if it is not as usual."""


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Wait for so many seconds. `because` is what made that necessary, if it is an error."""

    seconds: float
    because: AssistantError | None = None


Step: TypeAlias = Send | Wait
Flow: TypeAlias = Generator[Step, httpx.Response | None, T]


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often something is tried, and the longest wait in seconds that a gateway may ask for before it is an error at once."""

    attempts: int = 6
    longest_wait: float = 30.0

    def wait(self, attempt: int, retry_after: float | None = None) -> float:
        """Before the attempt after this one (from 1): twice as long each time, and what the gateway asks for at least."""
        seconds = max(min(0.5 * 2.0 ** min(attempt - 1, 20), self.longest_wait), retry_after or 0.0)
        return seconds * random.uniform(1.0, 1.25)  # noqa: S311 - so that clients that lost the same gateway do not come back at once


class _Claims(Struct, frozen=True):
    """What a device's token says."""

    acc: UUID
    sub: UUID
    iat: float
    exp: float


class Exchange:
    """A device's exchange with one gateway."""

    def __init__(self, url: str | None, store: TokenStore, retries: Retries) -> None:
        """Without a `url` with the gateway that the store's device is paired with.

        Raises:
            NotPaired: there is no such gateway.
            ValueError: the address is none.
        """
        self.url = _address(url, store)
        self._store = store
        self._retries = retries
        self._credentials: Credentials | None = None

    def answer(self, call: Call[T]) -> Flow[T]:
        """Send a call and read its answer.

        Raises:
            AssistantError: see `errors.py`.
        """
        response = yield from self.opened(call, stream=False)
        return _read(call, response)

    def opened(self, call: Call[Any], *, stream: bool = True) -> Flow[httpx.Response]:
        """Send a call; the answer is no error, and with `stream` still to be read."""
        if not call.endpoint.with_token:
            return (yield from self._attempts(call, None, stream))
        credentials = yield from self._current()
        try:
            return (yield from self._attempts(call, credentials.token, stream))
        except Unauthorized:
            renewed = yield from self._renewed(credentials)
            return (yield from self._attempts(call, renewed.token, stream))

    def pair(self, name: str | None, device_id: UUID | None, code: str | None) -> Flow[Credentials]:
        """Trade a code for tokens and keep them; without a code, make a new account with this device in it first."""
        if (device_id is None) != (code is None):
            raise ValueError("device_id and code come together")
        if device_id is None or code is None:
            pairing: Pairing = yield from self.answer(Call(endpoint=endpoints.REGISTER, body=this_device(name)))
            device_id, code = pairing.device_id, pairing.code
        verification = endpoints.Verification(device_id=device_id, code=code)
        tokens: endpoints.Tokens = yield from self.answer(Call(endpoint=endpoints.VERIFY, body=verification))
        return self._keep(tokens)

    def paired_with(self) -> str | None:
        """The gateway that the store's device is paired with."""
        stored = self._store.load()
        return stored.url if stored is not None else None

    def credentials(self) -> Credentials:
        """What is kept for this gateway.

        Raises:
            NotPaired: nothing.
        """
        if self._credentials is None:
            stored = self._store.load()
            if stored is None or stored.url != self.url:  # a token is never sent to another gateway
                raise NotPaired(f"This device is not paired with {self.url}")
            self._credentials = stored
        return self._credentials

    def _current(self) -> Flow[Credentials]:
        credentials = self.credentials()
        if credentials.renew_at <= datetime.now(UTC):
            return (yield from self._renewed(credentials))
        return credentials

    def _renewed(self, old: Credentials) -> Flow[Credentials]:
        """Trade the refresh token for new tokens, unless somebody else who shares the store has done it."""
        lock = self._store.lock()
        yield from _acquired(lock)
        try:
            stored = self._store.load()
            if stored is None or stored.url != self.url:
                raise NotPaired(f"This device is not paired with {self.url} any more")
            if stored.token != old.token:
                self._credentials = stored
                return stored
            if stored.refresh_key is None:  # kept first, so that also a later process asks for the same answer again
                stored = msgspec.structs.replace(stored, refresh_key=str(uuid4()))
                self._store.save(stored)
            refresh = endpoints.Refresh(refresh_token=stored.refresh_token)
            headers = {"Idempotency-Key": stored.refresh_key or ""}
            try:
                tokens: endpoints.Tokens = yield from self.answer(Call(endpoint=endpoints.REFRESH, body=refresh, headers=headers))
            except Unauthorized as error:
                raise NotPaired(f"The tokens for {self.url} are not good any more: {error}") from error
            return self._keep(tokens)
        finally:
            lock.release()

    def _keep(self, tokens: endpoints.Tokens) -> Credentials:
        claims = _claims(tokens.token)
        credentials = Credentials(
            url=self.url,
            account_id=claims.acc,
            device_id=claims.sub,
            token=tokens.token,
            renew_at=datetime.now(UTC) + timedelta(seconds=_RENEW_AFTER * (claims.exp - claims.iat)),
            refresh_token=tokens.refresh_token,
        )
        self._store.save(credentials)
        self._credentials = credentials
        return credentials

    def _attempts(self, call: Call[Any], token: str | None, stream: bool) -> Flow[httpx.Response]:
        """Send until there is an answer that is worth having, or no hope.

        What the gateway refuses with 503 or 429 it has not done, so that may be sent again. A request whose answer got lost may have been
        done: that depends on the endpoint. A gateway that died with a request holds its Idempotency-Key for some seconds, and answers 409.
        """
        request = _request(call, token, stream)
        with_key = call.endpoint.repeat == "with key"
        lost = "Idempotency-Key" in call.headers  # whoever names a key may have sent it before
        for attempt in count(1):
            try:
                response = yield from _sent(request)
            except Unreachable as error:
                problem: Unreachable | Refused = error
                again, maybe_done = not error.timed_out, error.maybe_done
            else:
                if response.is_success or (lost and response.status_code == _NOT_FOUND and request.method == "DELETE"):
                    return response
                problem = refusal_of(response)
                held = lost and with_key and isinstance(problem, Conflict)
                again, maybe_done = held or isinstance(problem, Unavailable | TooManyRequests), problem.status in _OF_PROXIES
            lost = lost or maybe_done
            again = again and not (maybe_done and call.endpoint.repeat == "never")
            retry_after = problem.retry_after if isinstance(problem, Refused) else None
            if not again or attempt == self._retries.attempts or (retry_after or 0.0) > self._retries.longest_wait:
                raise problem
            yield Wait(seconds=self._retries.wait(attempt, retry_after), because=problem)
        raise AssertionError


def _address(url: str | None, store: TokenStore) -> str:
    if url is None:
        stored = store.load()
        if stored is None:
            raise NotPaired("This device is not paired with any gateway")
        return stored.url
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is no address of a gateway: it begins with http:// or https://")
    return url.rstrip("/")


def _request(call: Call[Any], token: str | None, stream: bool) -> Send:
    headers = {"Accept": "application/json", **call.headers}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    if call.endpoint.repeat == "with key":
        headers.setdefault("Idempotency-Key", str(uuid4()))
    return Send(
        method=call.endpoint.method,
        path=call.path,
        query=msgspec.to_builtins(call.query) if call.query is not None else {},
        headers=headers,
        content=msgspec.json.encode(call.body) if call.body is not None else None,
        stream=stream,
        patience=call.endpoint.patience,
    )


def _sent(request: Send) -> Flow[httpx.Response]:
    response = yield request
    if response is None:
        raise AssertionError("a Send is answered with a response")
    return response


def _acquired(lock: Lock) -> Flow[None]:
    deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
    while not lock.try_acquire():
        if time.monotonic() > deadline:
            raise StoreError("Another process holds the token's lock: look for an assistant that hangs, and stop it")
        yield Wait(seconds=_LOCK_POLL_SECONDS)


def _read(call: Call[T], response: httpx.Response) -> T:
    expected: Any = call.endpoint.answer
    result: Any
    if expected is NoneType:
        result = None
    elif expected is str:
        result = response.text
    else:
        try:
            result = msgspec.json.decode(response.content, type=expected)
        except msgspec.MsgspecError as error:
            message = f"The answer to {call.endpoint.method} {call.path} is not what this version expects ({error}): update this library"
            raise UnexpectedAnswer(message) from error
        if call.endpoint.result is not None:
            result = getattr(result, call.endpoint.result)
    value: T = result
    return value


def _claims(token: str) -> _Claims:
    """What a token says of itself; whether it is good is for the gateway to say."""
    try:
        payload = token.split(".")[1]
        return msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims)
    except (IndexError, ValueError, msgspec.MsgspecError) as error:
        raise UnexpectedAnswer("The gateway's token is in a form that this version does not know: update this library") from error
