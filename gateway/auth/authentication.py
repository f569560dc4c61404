"""Who may come in. Every route is closed unless its handler says otherwise in `opt`."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from litestar.datastructures import Headers
from litestar.di import NamedDependency, Provide
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.params import SkipValidation
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.auth import queries
from gateway.auth.principal import Principal
from gateway.auth.tokens import DeviceTokens, VerifiedToken
from gateway.auth.websockets import offered_token
from gateway.database import Database
from shared.asgi import send_error
from shared.errors import AppError, Forbidden, Unauthorized, Unavailable

_LOOK_UP_SECONDS = 2.0
_TOUCH_SECONDS = 0.5
_SEND_A_TOKEN = "Send the device's token as `Authorization: Bearer <token>`"  # noqa: S105

PUBLIC = {"authentication": "none"}
"""`opt` of a handler that anybody may call."""
OPTIONAL = {"authentication": "optional"}
"""`opt` of a handler that anybody may call, but a token that is sent must be good."""


class Authenticator:
    """Turns a bearer token into a principal, or into 401 or 403."""

    def __init__(self, tokens: DeviceTokens, database: Database) -> None:
        self._tokens = tokens
        self._database = database

    async def authenticate(self, token: str) -> VerifiedToken:
        """Check the token, that its device is still active, and that it was not paired anew, nor its tokens revoked, since.

        Raises:
            Unauthorized: the token is no good, or its device or account is gone.
            Forbidden: the device was deactivated.
            Unavailable: the database is away, or does not answer in time.
        """
        verified = self._tokens.verify(token)
        if refusal := _refusal(verified, await self._look_up(verified.principal)):
            raise refusal
        return verified

    async def _look_up(self, principal: Principal) -> queries.DeviceState | None:
        """The state of a device, which is noted as seen; None when there is no such device."""
        account_id, device_id = principal.account_id, principal.device_id
        try:
            async with asyncio.timeout(_LOOK_UP_SECONDS), self._database.connection() as db:
                [device] = await queries.device_states(db, [account_id], [device_id])
                if device is not None and device.stale:
                    with suppress(TimeoutError):  # nobody is shut out because it cannot be noted that they were seen
                        async with asyncio.timeout(_TOUCH_SECONDS):
                            await queries.touch(db, account_id, device_id)
        except TimeoutError as error:
            raise Unavailable("The database is slow; try again in a moment", retry_after=1) from error
        return device

    async def refusals(self, tokens: Sequence[VerifiedToken]) -> list[Unauthorized | Forbidden | None]:
        """What `authenticate` would say now of tokens that were good; None where nothing changed. It does not look at the clock.

        Raises:
            Unavailable: the database is away.
        """
        principals = [token.principal for token in tokens]
        async with self._database.connection() as db:
            devices = await queries.device_states(
                db, [principal.account_id for principal in principals], [principal.device_id for principal in principals]
            )
        return [_refusal(token, device) for token, device in zip(tokens, devices, strict=True)]


def _refusal(token: VerifiedToken, device: queries.DeviceState | None) -> Unauthorized | Forbidden | None:
    if device is None:
        return Unauthorized("The device of this token does not exist any more")
    if device.status != "active":
        return Forbidden("This device is not active; pair it again")
    if device.tokens_valid_after is not None and token.issued_at <= device.tokens_valid_after:
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
            raise Unauthorized(_SEND_A_TOKEN)


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized(_SEND_A_TOKEN)
    return token.strip()


def provide_principal(scope: Scope) -> Principal:
    """The caller, for handlers that ask for `principal`."""
    principal = scope.get("user")
    if not isinstance(principal, Principal):
        raise Unauthorized(_SEND_A_TOKEN)
    return principal


def provide_token(scope: Scope) -> VerifiedToken:
    """The caller's token as it was read, for handlers that run on after it was checked and ask for `caller_token`."""
    token = scope.get("auth")
    if not isinstance(token, VerifiedToken):
        raise Unauthorized(_SEND_A_TOKEN)
    return token


def provide_optional_principal(scope: Scope) -> Principal | None:
    """The caller of an `OPTIONAL` route, if there was a token."""
    principal: Any = scope.get("user")
    return principal if isinstance(principal, Principal) else None


Caller = NamedDependency[SkipValidation[Principal]]
OptionalCaller = NamedDependency[SkipValidation[Principal | None]]
CallerToken = NamedDependency[SkipValidation[VerifiedToken]]
CALLERS: dict[str, Provide] = {
    "principal": Provide(provide_principal, sync_to_thread=False),
    "caller_token": Provide(provide_token, sync_to_thread=False),
    "optional_principal": Provide(provide_optional_principal, sync_to_thread=False),
}
"""What handlers may ask for: who calls."""
