"""Who may come in. Every route is closed unless its handler says otherwise in `opt`."""

from typing import Any

from litestar.datastructures import Headers
from litestar.di import NamedDependency
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.params import SkipValidation
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.auth import queries
from gateway.auth.principal import Principal
from gateway.auth.tokens import DeviceTokens
from gateway.database import Database
from gateway.errors import Forbidden, Unauthorized

PUBLIC = {"authentication": "none"}
"""`opt` of a handler that anybody may call."""
OPTIONAL = {"authentication": "optional"}
"""`opt` of a handler that anybody may call, but a token that is sent must be good."""


class Authenticator:
    """Turns a bearer token into a principal, or into 401 or 403."""

    def __init__(self, tokens: DeviceTokens, database: Database) -> None:
        self._tokens = tokens
        self._database = database

    async def authenticate(self, token: str) -> Principal:
        """Check the token and that its device is still active and was not paired anew since.

        Raises:
            Unauthorized: the token is no good, or its device or account is gone.
            Forbidden: the device was deactivated.
            Unavailable: the database is away.
        """
        verified = self._tokens.verify(token)
        principal = verified.principal
        async with self._database.connection() as db:
            standing = await queries.standing(db, principal.account_id, principal.device_id)
        if standing is None:
            raise Unauthorized("The device of this token does not exist any more")
        if standing.status != "active":
            raise Forbidden("This device is not active; pair it again")
        if standing.verified_at is not None and verified.issued_at < standing.verified_at.replace(microsecond=0):
            # Or a deactivated device's old token would be good again once somebody pairs that device anew.
            raise Unauthorized("The device was paired again after this token was issued; use its newer token")
        return principal


class AuthenticationMiddleware(ASGIMiddleware):
    """Denies by default: puts the principal into the scope, or refuses before the handler is reached."""

    scopes = (ScopeType.HTTP, ScopeType.WEBSOCKET)

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        mode = scope["route_handler"].opt.get("authentication", "required")
        if mode != "none":
            header = Headers.from_scope(scope).get("authorization")
            if header is not None:
                scope["user"] = await self._authenticator.authenticate(_bearer(header))
            elif mode == "required":
                raise Unauthorized("Send the device's token as `Authorization: Bearer <token>`")
        await next_app(scope, receive, send)


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


def provide_optional_principal(scope: Scope) -> Principal | None:
    """The caller of an `OPTIONAL` route, if there was a token."""
    principal: Any = scope.get("user")
    return principal if isinstance(principal, Principal) else None


Caller = NamedDependency[SkipValidation[Principal]]
OptionalCaller = NamedDependency[SkipValidation[Principal | None]]
