import os
import re
import subprocess
import sys
from uuid import uuid4

from tests.factories import calls_from, device_with, new_address, paired_device, registration
from tests.fixtures.gateway import JWT_KEYS, GatewayProcess


def pair(database_url: str, redis_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "JWT_KEYS": JWT_KEYS, "PATH": os.environ["PATH"]}
    return subprocess.run([sys.executable, "-m", "gateway", "pair", *arguments], env=settings, capture_output=True, text=True, check=False)


def test_closed_registration_says_what_to_do(second_gateway: GatewayProcess) -> None:
    answer = calls_from(second_gateway.url, new_address()).post("/api/devices/register", json=registration())

    assert answer.status_code == 403
    assert "gateway pair" in answer.json()["message"]


def test_a_paired_device_still_adds_devices_where_registration_is_closed(gateway: GatewayProcess, second_gateway: GatewayProcess) -> None:
    owner = paired_device(gateway.url)

    assert paired_device(second_gateway.url, owner).account_id == owner.account_id


def test_the_operator_announces_a_device_that_can_be_verified(database_url: str, redis_url: str, second_gateway: GatewayProcess) -> None:
    printed = pair(database_url, redis_url, "--name", "Kitchen tablet", "--platform", "android").stdout
    found = re.search(r"device id +(?P<id>[0-9a-f-]{36})\ncode +(?P<code>[0-9]{6})\nvalid to", printed)
    assert found is not None, printed

    verified = calls_from(second_gateway.url, new_address()).post(
        "/api/devices/verify", json={"deviceId": found["id"], "code": found["code"]}
    )

    device = device_with(second_gateway.url, verified.json()["token"], verified.json()["refreshToken"])
    [listed] = device.client.get("/api/devices").json()["devices"]
    assert (listed["name"], listed["platform"], listed["status"]) == ("Kitchen tablet", "android", "active")


def test_the_operator_lets_somebody_back_into_an_account(database_url: str, redis_url: str, gateway: GatewayProcess) -> None:
    owner = paired_device(gateway.url)

    pair(database_url, redis_url, "--account", str(owner.account_id)).check_returncode()

    assert [entry["name"] for entry in owner.client.get("/api/devices").json()["devices"]] == ["MacBook Pro", "New device"]


def test_an_unknown_account_is_refused(database_url: str, redis_url: str) -> None:
    refused = pair(database_url, redis_url, "--account", str(uuid4()))

    assert refused.returncode == 1
    assert refused.stderr == "gateway: There is no account with this id\n"
