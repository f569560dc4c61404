"""Who may come in. Every route is closed unless its handler says otherwise in `opt`."""

from collections.abc import Sequence
from typing import Any

from litestar.datastructures import Headers
from litestar.di import NamedDependency
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.params import SkipValidation
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.auth import queries
from gateway.auth.handshake import offered_token
from gateway.auth.principal import Principal
from gateway.auth.standing import StandingReader
from gateway.auth.tokens import DeviceTokens, VerifiedToken
from gateway.database import Database
from gateway.errors import AppError, Forbidden, Unauthorized
from shared.asgi import send_error

PUBLIC = {"authentication": "none"}
"""`opt` of a handler that anybody may call."""
OPTIONAL = {"authentication": "optional"}
"""`opt` of a handler that anybody may call, but a token that is sent must be good."""


class Authenticator:
    """Turns a bearer token into a principal, or into 401 or 403."""

    def __init__(self, tokens: DeviceTokens, database: Database) -> None:
        self._tokens = tokens
        self._database = database
        self._standings = StandingReader(database)

    async def authenticate(self, token: str) -> VerifiedToken:
        """Check the token, that its device is still active, and that it was not paired anew, nor its tokens revoked, since.

        Raises:
            Unauthorized: the token is no good, or its device or account is gone.
            Forbidden: the device was deactivated.
            Unavailable: the database is away.
        """
        verified = self._tokens.verify(token)
        standing = await self._standings.standing(verified.principal)
        if refusal := _refusal(verified, standing):
            raise refusal
        return verified

    async def refusals(self, tokens: Sequence[VerifiedToken]) -> list[Unauthorized | Forbidden | None]:
        """What `authenticate` would say now of tokens that were good; None where nothing changed. It does not look at the clock.

        Raises:
            Unavailable: the database is away.
        """
        principals = [token.principal for token in tokens]
        async with self._database.connection() as db:
            standings = await queries.standings(
                db, [principal.account_id for principal in principals], [principal.device_id for principal in principals]
            )
        return [_refusal(token, standing) for token, standing in zip(tokens, standings, strict=True)]


def _refusal(token: VerifiedToken, standing: queries.Standing | None) -> Unauthorized | Forbidden | None:
    if standing is None:
        return Unauthorized("The device of this token does not exist any more")
    if standing.status != "active":
        return Forbidden("This device is not active; pair it again")
    if standing.tokens_valid_after is not None and token.issued_at <= standing.tokens_valid_after:
        return Unauthorized(
            "This token is void: the device was paired again, or somebody used its refresh token a second time; pair it again"
        )
    return None


class AuthenticationMiddleware(ASGIMiddleware):
    """Denies by default: puts the principal into the scope, or refuses before the handler is reached."""

    scopes = (ScopeType.HTTP, ScopeType.WEBSOCKET)

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        mode = scope["route_handler"].opt.get("authentication", "required")
        if mode != "none":
            try:
                await self._admit(scope, required=mode == "required")
            except AppError as error:
                if scope["type"] != ScopeType.WEBSOCKET:
                    raise
                await send_error(scope, send, error)
                return
        await next_app(scope, receive, send)

    async def _admit(self, scope: Scope, *, required: bool) -> None:
        header = Headers.from_scope(scope).get("authorization")
        token = _bearer(header) if header is not None else offered_token(scope)
        if token is not None:
            scope["auth"] = verified = await self._authenticator.authenticate(token)
            scope["user"] = verified.principal
        elif required:
            raise Unauthorized("Send the device's token as `Authorization: Bearer <token>`")


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Send the device's token as `Authorization: Bearer <token>`")
    return token.strip()


def provide_principal(scope: Scope) -> Principal:
    """The caller, for handlers that ask for `principal`."""
    principal = scope.get("user")
    if not isinstance(principal, Principal):
        raise Unauthorized("Send the device's token as `Authorization: Bearer <token>`")
    return principal


def provide_token(scope: Scope) -> VerifiedToken:
    """The caller's token as it was read, for handlers that run on after it was checked and ask for `caller_token`."""
    token = scope.get("auth")
    if not isinstance(token, VerifiedToken):
        raise Unauthorized("Send the device's token as `Authorization: Bearer <token>`")
    return token


def provide_optional_principal(scope: Scope) -> Principal | None:
    """The caller of an `OPTIONAL` route, if there was a token."""
    principal: Any = scope.get("user")
    return principal if isinstance(principal, Principal) else None


Caller = NamedDependency[SkipValidation[Principal]]
OptionalCaller = NamedDependency[SkipValidation[Principal | None]]
CallerToken = NamedDependency[SkipValidation[VerifiedToken]]
