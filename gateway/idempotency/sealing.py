"""Answers are kept encrypted under the client's own key, so that the table alone shows nobody's drafts or codes."""

import hashlib
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12  # NIST SP 800-38D


def key_hash(owner: str, key: str) -> bytes:
    """What the key is looked up by."""
    return hashlib.sha256(b"lookup\0" + owner.encode() + b"\0" + key.encode()).digest()


def seal(owner: str, key: str, answer: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + _cipher(owner, key).encrypt(nonce, answer, None)


def unseal(owner: str, key: str, sealed: bytes) -> bytes:
    return _cipher(owner, key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)


def _cipher(owner: str, key: str) -> AESGCM:
    return AESGCM(hashlib.sha256(b"seal\0" + owner.encode() + b"\0" + key.encode()).digest())
