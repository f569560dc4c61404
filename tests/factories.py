"""Makes what tests need, through the real calls."""

import secrets
import ssl
from dataclasses import dataclass
from uuid import UUID, uuid4

import httpx
import jwt

# Nothing here speaks TLS; loading the system's certificates for every client would take longer than the tests.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True, kw_only=True)
class Device:
    """A paired device; `client` sends its token."""

    account_id: UUID
    device_id: UUID
    token: str
    refresh_token: str
    client: httpx.Client


def registration(**changes: str) -> dict[str, str]:
    """The body of POST /api/devices/register, as documented, with a hardware id of its own."""
    return {"name": "MacBook Pro", "hardwareId": uuid4().hex, "platform": "macos", "osVersion": "14.0", **changes}


def paired_device(gateway_url: str, owner: Device | None = None) -> Device:
    """A device that went through register and verify: of a new account, or of its `owner`'s."""
    headers = {"Authorization": f"Bearer {owner.token}"} if owner else {}
    pairing = httpx.post(f"{gateway_url}/api/devices/register", json=registration(), headers=headers, verify=NO_TLS)
    assert pairing.status_code == 201, pairing.text
    proof = {"deviceId": pairing.json()["deviceId"], "code": pairing.json()["code"]}
    verified = httpx.post(f"{gateway_url}/api/devices/verify", json=proof, verify=NO_TLS)
    assert verified.status_code == 200, verified.text
    return device_with(gateway_url, verified.json()["token"], verified.json()["refreshToken"])


def device_with(gateway_url: str, token: str, refresh_token: str) -> Device:
    """The device of a token that was issued by a gateway with the tests' keys."""
    claims = jwt.decode(token, options={"verify_signature": False})
    # No kept connections: nobody has to close the client.
    limits = httpx.Limits(max_keepalive_connections=0)
    client = httpx.Client(base_url=gateway_url, headers={"Authorization": f"Bearer {token}"}, timeout=30, limits=limits, verify=NO_TLS)
    return Device(account_id=UUID(claims["acc"]), device_id=UUID(claims["sub"]), token=token, refresh_token=refresh_token, client=client)


def calls_from(gateway_url: str, address: str, token: str | None = None) -> httpx.Client:
    """A client that calls from this loopback address, so that the wrong codes it sends are its own."""
    transport = httpx.HTTPTransport(local_address=address, limits=httpx.Limits(max_keepalive_connections=0), verify=NO_TLS)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=gateway_url, headers=headers, transport=transport, timeout=30)


def new_address() -> str:
    """A loopback address that no other test calls from."""
    return f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"


def wrong_code(code: str) -> str:
    """Another code of six digits."""
    return f"{(int(code) + 1) % 1_000_000:06d}"
