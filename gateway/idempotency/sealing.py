"""Answers are kept encrypted under the client's own key, so that the table alone shows nobody's drafts or codes."""

import hashlib
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12  # NIST SP 800-38D


def key_hash(scope: str, key: str) -> bytes:
    """What the key is looked up by."""
    return hashlib.sha256(b"lookup\0" + scope.encode() + b"\0" + key.encode()).digest()


def seal(scope: str, key: str, answer: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + _cipher(scope, key).encrypt(nonce, answer, None)


def unseal(scope: str, key: str, sealed: bytes) -> bytes:
    return _cipher(scope, key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)


def _cipher(scope: str, key: str) -> AESGCM:
    return AESGCM(hashlib.sha256(b"seal\0" + scope.encode() + b"\0" + key.encode()).digest())
