"""Same key and body: the first answer again. Same key, other body: 422. Still running: 409."""

import asyncio
import hashlib
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Record
from litestar import Request
from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.exceptions import InternalServerException
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.auth.principal import Principal
from gateway.database import Database
from gateway.idempotency import queries, sealing
from shared.errors import BadRequest, Conflict, Unavailable, UnprocessableEntity

IDEMPOTENT = {"idempotent": True}
"""`opt` of a handler that creates something and so honours `Idempotency-Key`."""
_MAXIMUM_KEY = 255
_MINIMUM_ANONYMOUS_KEY = 16
_KEPT_HEADERS = {b"content-type", b"location", b"preference-applied", b"set-cookie"}
_RENEWAL_SECONDS = 4.0
_CREATED_ID = "idempotency_created_id"


class _Answer(msgspec.Struct, frozen=True):
    """A first answer, as it is given again."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def id_to_create(scope: Scope) -> UUID | None:
    """The id for what a request creates, if it came with an Idempotency-Key: the same when it is repeated because its gateway died."""
    return scope["state"].get(_CREATED_ID)


class IdempotencyMiddleware(ASGIMiddleware):
    """Runs after authentication, on handlers that are marked `IDEMPOTENT`. Only successful answers are kept: a failure may be retried."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        key = Headers.from_scope(scope).get("idempotency-key")
        if key is None or not scope["route_handler"].opt.get("idempotent"):
            await next_app(scope, receive, send)
            return
        owner = _owner(scope, key)
        body = await _body(scope, receive)
        fingerprint = hashlib.sha256(f"{scope['path']}\n".encode() + body).digest()
        key_hash = sealing.key_hash(owner, key)
        async with self._database.connection() as db:
            claim = await queries.claim(db, owner, key_hash, fingerprint)
            known = None if claim else await queries.find(db, owner, key_hash)
        if claim is None:
            first = _first_answer(known, owner, key, fingerprint)
            await send({"type": "http.response.start", "status": first.status, "headers": first.headers})
            await send({"type": "http.response.body", "body": first.body, "more_body": False})
            return
        scope["state"][_CREATED_ID] = claim.created_id
        recorder = _Recorder(send)
        renewal = asyncio.create_task(self._keep_renewing(claim.id))
        try:
            await next_app(scope, receive, recorder)
        finally:
            renewal.cancel()
            async with self._database.connection() as db:
                if (answer := recorder.good_answer) is not None:
                    await queries.keep(db, claim.id, sealing.seal(owner, key, msgspec.msgpack.encode(answer)))
                else:
                    await queries.release(db, claim.id)
        await recorder.finish()

    async def forget_old(self) -> None:
        async with self._database.connection() as db:
            await queries.forget_old(db)

    async def _keep_renewing(self, claim_id: UUID) -> None:
        """Keep the claim from being taken over by a retry."""
        while True:
            await asyncio.sleep(_RENEWAL_SECONDS)
            with suppress(Unavailable):
                async with self._database.connection() as db:
                    await queries.renew(db, claim_id)


class _Recorder:
    """Passes an answer on and remembers it. The last part goes out only after the answer was kept: a client that has it may rely on it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._last: Message | None = None
        self._parts: list[bytes] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._headers = [(bytes(name), bytes(value)) for name, value in message["headers"] if name.lower() in _KEPT_HEADERS]
        elif message["type"] == "http.response.body":
            self._parts.append(message["body"])
            if not message.get("more_body"):
                self._last = message
                return
        await self._send(message)

    @property
    def good_answer(self) -> _Answer | None:
        """The whole answer, if it was a good one."""
        if self._last is None or not 200 <= self.status < 300:
            return None
        return _Answer(status=self.status, headers=self._headers, body=b"".join(self._parts))

    async def finish(self) -> None:
        if self._last is not None:
            await self._send(self._last)


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The request's body; the framework keeps it for the handler."""
    try:
        return await Request[Any, Any, Any](scope, receive).body()
    except InternalServerException:
        raise BadRequest("The request was broken off") from None


def _first_answer(known: Record | None, owner: str, key: str, fingerprint: bytes) -> _Answer:
    if known is None or (known["answer"] is None and known["fingerprint"] == fingerprint):
        raise Conflict("The first request with this Idempotency-Key is still running; ask again in a moment")
    if known["fingerprint"] != fingerprint:
        raise UnprocessableEntity("This Idempotency-Key was used with another request; use a new key for a new request")
    return msgspec.msgpack.decode(sealing.unseal(owner, key, known["answer"]), type=_Answer)


def _owner(scope: Scope, key: str) -> str:
    """The account that a key is of, or for requests without a token the client's address."""
    if not key or len(key) > _MAXIMUM_KEY:
        raise BadRequest.field("Idempotency-Key", f"must have 1 to {_MAXIMUM_KEY} characters")
    principal = scope.get("user")
    if isinstance(principal, Principal):
        return str(principal.account_id)
    if len(key) < _MINIMUM_ANONYMOUS_KEY:
        raise BadRequest.field(
            "Idempotency-Key", f"without a token it must have at least {_MINIMUM_ANONYMOUS_KEY} characters, such as a UUID"
        )
    client = scope.get("client")
    return f"anonymous {client[0] if client else ''}"
