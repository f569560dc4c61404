import base64
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from tests.factories import Device, calls_from, new_address, paired_device
from tests.fixtures.database import rows
from tests.fixtures.gateway import JWT_KEYS, GatewayProcess

KEY = JWT_KEYS.partition(":")[2]


@pytest.fixture(scope="module")
def device(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


def claims(device: Device, **changes: Any) -> dict[str, Any]:
    """Those of a good token, changed; None takes one away."""
    now = datetime.now(UTC)
    good = {
        "iss": "conversation-assistant",
        "aud": "conversation-assistant-gateway",
        "sub": str(device.device_id),
        "acc": str(device.account_id),
        "iat": now,
        "exp": now + timedelta(hours=1),
        "jti": uuid4().hex,
        "typ": "device",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(content: dict[str, Any], key: str = KEY, kid: str = "test", algorithm: str = "HS256") -> str:
    return jwt.encode(content, key, algorithm=algorithm, headers={"kid": kid})


def by_hand(content: dict[str, Any], algorithm: str, digest: str | None = None) -> str:
    """A token with any header, signed with the right key and this digest, or not at all."""
    now = int(datetime.now(UTC).timestamp())
    parts = [{"alg": algorithm, "typ": "JWT", "kid": "test"}, {**content, "iat": now, "exp": now + 3600}]
    head = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    return f"{head}.{encoded(hmac.digest(KEY.encode(), head.encode(), digest)) if digest else ''}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def ask(url: str, token: str) -> httpx.Response:
    return calls_from(url, new_address()).get("/api/devices", headers={"Authorization": f"Bearer {token}"})


def test_the_forger_of_these_tests_can_make_a_good_token(gateway: GatewayProcess, device: Device) -> None:
    assert ask(gateway.url, signed(claims(device))).status_code == 200


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "HS256"])
def test_an_unsigned_token_is_401(gateway: GatewayProcess, device: Device, algorithm: str) -> None:
    assert ask(gateway.url, by_hand(claims(device), algorithm)).status_code == 401


@pytest.mark.parametrize(("algorithm", "digest"), [("HS384", "sha384"), ("HS512", "sha512")])
def test_another_algorithm_is_401_even_with_the_right_key(gateway: GatewayProcess, device: Device, algorithm: str, digest: str) -> None:
    assert ask(gateway.url, by_hand(claims(device), "HS256", "sha256")).status_code == 200
    assert ask(gateway.url, by_hand(claims(device), algorithm, digest)).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody-else"},
        {"aud": "another-service"},
        {"typ": "refresh"},
        {"exp": datetime.now(UTC) - timedelta(seconds=1)},
        {"iat": datetime.now(UTC) + timedelta(days=1)},
        {"nbf": datetime.now(UTC) + timedelta(days=1)},
        {"sub": "not-a-uuid"},
        {"acc": "not-a-uuid"},
        {"acc": 7},
        {"acc": ["a"]},
        *({name: None} for name in ("iss", "aud", "sub", "acc", "iat", "exp", "jti", "typ")),
    ],
    ids=" ".join,  # no times of this run
)
def test_a_wrong_or_missing_claim_is_401(gateway: GatewayProcess, device: Device, changes: dict[str, Any]) -> None:
    assert ask(gateway.url, signed(claims(device, **changes))).status_code == 401


def test_a_token_of_a_gateway_whose_clock_is_a_little_ahead_is_good(gateway: GatewayProcess, device: Device) -> None:
    ahead = datetime.now(UTC) + timedelta(seconds=4)

    assert ask(gateway.url, signed(claims(device, iat=ahead))).status_code == 200


def test_an_expired_token_says_what_to_do(gateway: GatewayProcess, device: Device) -> None:
    answer = ask(gateway.url, signed(claims(device, exp=datetime.now(UTC) - timedelta(seconds=1))))

    assert "refresh token" in answer.json()["message"]
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_that_was_good_a_moment_ago_is_401_once_it_expires(gateway: GatewayProcess, device: Device) -> None:
    expires_at = datetime.now(UTC) + timedelta(seconds=4)
    token = signed(claims(device, exp=expires_at))
    assert ask(gateway.url, token).status_code == 200

    while datetime.now(UTC) <= expires_at:
        time.sleep(0.1)

    assert ask(gateway.url, token).status_code == 401


@pytest.mark.parametrize(("key", "kid"), [("x" * 32, "test"), (KEY, "unknown"), (KEY, ""), (KEY, "../test")])
def test_another_key_or_key_id_is_401(gateway: GatewayProcess, device: Device, key: str, kid: str) -> None:
    assert ask(gateway.url, signed(claims(device), key, kid)).status_code == 401


def test_a_token_without_a_key_id_is_401(gateway: GatewayProcess, device: Device) -> None:
    assert ask(gateway.url, jwt.encode(claims(device), KEY, algorithm="HS256")).status_code == 401


def test_a_changed_signature_is_401(gateway: GatewayProcess, device: Device) -> None:
    head, _, signature = device.token.rpartition(".")

    assert ask(gateway.url, f"{head}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}").status_code == 401


@pytest.mark.parametrize("header", ["", "Bearer", "Basic dXNlcjpwYXNz", "Bearer a.b.c", "Bearer \xff\xfe", "Bearer " + "A" * 5000, "token"])
def test_a_malformed_header_is_401(gateway: GatewayProcess, header: str) -> None:
    answer = calls_from(gateway.url, new_address()).get("/api/devices", headers={b"Authorization": header.encode("latin-1")})

    assert answer.status_code == 401
    assert set(answer.json()) == {"statusCode", "message", "error", "requestId"}


def test_the_device_of_another_account_is_401(gateway: GatewayProcess, device: Device) -> None:
    stranger = paired_device(gateway.url)

    assert ask(gateway.url, signed(claims(device, acc=str(stranger.account_id)))).status_code == 401


def test_a_device_that_was_never_verified_is_403(gateway: GatewayProcess, device: Device, database_url: str) -> None:
    pending = paired_device(gateway.url, device)
    rows(database_url, "update device set status = 'pending' where id = $1", pending.device_id)

    assert ask(gateway.url, pending.token).status_code == 403


def test_after_a_rotation_the_old_key_verifies_and_the_new_one_signs(
    gateway: GatewayProcess, second_gateway: GatewayProcess, device: Device
) -> None:
    newer = paired_device(second_gateway.url, device)

    assert ask(second_gateway.url, device.token).status_code == 200
    assert jwt.get_unverified_header(newer.token)["kid"] == "newer"
    assert ask(second_gateway.url, newer.token).status_code == 200
    assert ask(gateway.url, newer.token).status_code == 401  # it does not know the newer key yet


def test_a_code_from_before_a_rotation_still_works(gateway: GatewayProcess, second_gateway: GatewayProcess, device: Device) -> None:
    body = {"name": "n", "hardwareId": uuid4().hex, "platform": "web", "osVersion": "1"}
    pairing = device.client.post("/api/devices/register", json=body).json()

    verified = calls_from(second_gateway.url, new_address()).post(
        "/api/devices/verify", json={"deviceId": pairing["deviceId"], "code": pairing["code"]}
    )

    assert verified.status_code == 200


def test_the_token_holds_what_is_promised_and_no_more(device: Device) -> None:
    content = jwt.decode(device.token, options={"verify_signature": False})

    assert set(content) == {"iss", "aud", "sub", "acc", "iat", "exp", "jti", "typ"}
