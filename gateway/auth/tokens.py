"""Device tokens, which are JWTs (RFC 7519) with a pinned algorithm and a key id, and the keys that sign them."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt

from gateway.auth.principal import Principal
from gateway.wire import utc_now
from shared.errors import Unauthorized
from shared.ids import new_id

LIFETIME = timedelta(days=7)
_ALGORITHM = "HS256"
_ISSUER = "conversation-assistant"
_AUDIENCE = "conversation-assistant-gateway"
_TYPE = "device"
_EXPIRED = "The token has expired; use the refresh token or pair the device again"
# Another gateway's clock may be ahead of this one's when it issues a token. (Whether it has expired is checked without that.)
_LEEWAY = timedelta(seconds=5)
_REQUIRED = ["iss", "aud", "sub", "acc", "iat", "exp", "jti", "typ"]


class KeyRing:
    """Signing keys by their id, newest first: the first signs, every key verifies."""

    def __init__(self, keys: Sequence[str]) -> None:
        """`keys` are `id:secret`, as in the setting JWT_KEYS."""
        self._secrets = dict(key.split(":", 1) for key in keys)
        self.signing_id = keys[0].split(":", 1)[0]

    @property
    def signing_secret(self) -> str:
        return self._secrets[self.signing_id]

    def secret(self, key_id: str) -> str | None:
        return self._secrets.get(key_id)

    def code_hash(self, device_id: UUID, code: str) -> bytes:
        """A pairing code's keyed hash: without a key, a leaked table would give all million codes away in a second."""
        return _keyed_hash(self.signing_secret, device_id, code)

    def code_matches(self, device_id: UUID, code: str, code_hash: bytes) -> bool:
        return any(hmac.compare_digest(_keyed_hash(secret, device_id, code), code_hash) for secret in self._secrets.values())


@dataclass(frozen=True, slots=True)
class IssuedToken:
    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a good token says."""

    principal: Principal
    issued_at: datetime
    expires_at: datetime


class DeviceTokens:
    """Issues and verifies the tokens that devices carry."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._jwt = jwt.PyJWT(options={"enforce_minimum_key_length": True})

    def issue(self, principal: Principal, issued_at: datetime) -> IssuedToken:
        """A token of this moment, to the microsecond: what revokes the tokens up to a moment must tell it from the next one's."""
        expires_at = (issued_at + LIFETIME).replace(microsecond=0)
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": str(principal.device_id),
            "acc": str(principal.account_id),
            "iat": issued_at.timestamp(),
            "exp": expires_at,
            "jti": str(new_id()),
            "typ": _TYPE,
        }
        token = self._jwt.encode(claims, self._keys.signing_secret, algorithm=_ALGORITHM, headers={"kid": self._keys.signing_id})
        return IssuedToken(token=token, expires_at=expires_at)

    def verify(self, token: str) -> VerifiedToken:
        """Whose token it is, and since when.

        Raises:
            Unauthorized: malformed, expired, signed by an unknown key, or not a device's token.
        """
        try:
            secret = self._keys.secret(str(jwt.get_unverified_header(token).get("kid")))
            if secret is None:
                raise Unauthorized("The token is signed with a key that is not known here; pair the device again")
            claims = self._jwt.decode(
                token,
                secret,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                issuer=_ISSUER,
                leeway=_LEEWAY,
                options={"require": _REQUIRED},
            )
            if claims["typ"] != _TYPE:
                raise Unauthorized("This is not a device token")
            principal = Principal(account_id=UUID(str(claims["acc"])), device_id=UUID(claims["sub"]))
            verified = VerifiedToken(principal=principal, issued_at=_time(claims["iat"]), expires_at=_time(claims["exp"]))
        except jwt.ExpiredSignatureError:
            raise Unauthorized(_EXPIRED) from None
        except (jwt.InvalidTokenError, ValueError, OverflowError):
            raise Unauthorized("The token is not valid") from None
        if verified.expires_at <= utc_now():
            raise Unauthorized(_EXPIRED)
        return verified


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


def _keyed_hash(secret: str, device_id: UUID, code: str) -> bytes:
    return hmac.digest(secret.encode(), b"pairing code" + device_id.bytes + code.encode(), hashlib.sha256)
