"""The key ring: the first key signs, every key verifies."""

import hashlib
import hmac
from collections.abc import Sequence
from uuid import UUID


class KeyRing:
    """Signing keys by their id, newest first."""

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


def _keyed_hash(secret: str, device_id: UUID, code: str) -> bytes:
    return hmac.digest(secret.encode(), b"pairing code" + device_id.bytes + code.encode(), hashlib.sha256)
