"""Accounts with several devices each, and their end. Nothing of this is measured."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import jwt

from tests.load.ledger import Account, PairedDevice

DEVICES_EACH = 3
_THREADS = 6
_PLATFORMS = ("macos", "ios", "android")


class PairingRefused(Exception):
    """The gateway lets no more devices in; the message says what to do."""


def pair_devices(url: str, devices: int, token: str | None, accounts: list[Account]) -> None:
    """Add accounts with so many devices, three each; with a token all of them join its account.

    Raises:
        PairingRefused: the gateway lets no more in.
    """
    with unmeasured(url) as client:
        for number in range(devices):
            if number == 0 or (token is None and number % DEVICES_EACH == 0):
                accounts.append(Account(devices=[], threads=[f"load-{uuid4().hex}" for _ in range(_THREADS)]))
            account = accounts[-1]
            owner = account.devices[0].token if account.devices else token
            account.devices.append(_paired(client, number, owner))


def unmeasured(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=60)


def authorization(device: PairedDevice) -> dict[str, str]:
    return {"Authorization": f"Bearer {device.token}"}


def cleared(url: str, accounts: list[Account], *, joined: bool) -> Iterator[str]:
    """Take away what was made: the accounts or, of an account that was joined, the threads and the devices. Yields what did not work."""
    with unmeasured(url) as client:
        for account in (each for each in accounts if each.devices):
            headers = authorization(account.devices[0])
            calls: list[tuple[str, str, Any]]
            if joined:
                calls = [("DELETE", f"/api/conversations/{conversation}", None) for conversation in account.conversations]
                calls += [("POST", f"/api/devices/{device.id}/deactivate", None) for device in reversed(account.devices)]
            else:
                calls = [("DELETE", "/api/account", {"confirm": _account_id(account.devices[0])})]
            for method, path, body in calls:
                answer = client.request(method, path, json=body, headers=headers)
                if answer.is_error:
                    yield f"what was made could not be taken away: {method} {path.rsplit('/', 1)[0]} is {answer.status_code}"


def _paired(client: httpx.Client, number: int, owner_token: str | None) -> PairedDevice:
    body = {
        "name": f"Load {number}",
        "hardwareId": uuid4().hex,
        "platform": _PLATFORMS[number % len(_PLATFORMS)],
        "osVersion": "1",
    }
    headers = {"Idempotency-Key": str(uuid4())}
    if owner_token is not None:
        headers["Authorization"] = f"Bearer {owner_token}"
    registered = client.post("/api/devices/register", json=body, headers=headers)
    if registered.status_code == 403:
        raise PairingRefused("this gateway's registration is closed: give it the token of one of its devices with --token-of FILE")
    if registered.status_code == 429:
        raise PairingRefused(
            f"this gateway lets no more than {number} devices in: {registered.json()['message']};"
            " set a larger MAX_REGISTRATIONS_PER_ADDRESS or MAX_DEVICES_PER_ACCOUNT there, or a smaller --devices here"
        )
    made = registered.raise_for_status().json()
    proof = {"deviceId": made["deviceId"], "code": made["code"]}
    verified = client.post("/api/devices/verify", json=proof).raise_for_status().json()
    return PairedDevice(id=made["deviceId"], token=verified["token"], refresh_token=verified["refreshToken"])


def _account_id(device: PairedDevice) -> str:
    return str(jwt.decode(device.token, options={"verify_signature": False})["acc"])
