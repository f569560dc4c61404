from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from tests.factories import Device, calls_from, device_with, new_address, paired_device
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess


@pytest.fixture
def device(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


@pytest.fixture
def caller(gateway: GatewayProcess) -> httpx.Client:
    return calls_from(gateway.url, new_address())


def refresh(client: httpx.Client, token: str, **headers: str) -> httpx.Response:
    return client.post("/api/devices/refresh", json={"refreshToken": token}, headers=headers)


def test_a_refresh_token_buys_a_new_pair(gateway: GatewayProcess, device: Device, caller: httpx.Client) -> None:
    answer = refresh(caller, device.refresh_token)

    assert answer.status_code == 200
    assert set(answer.json()) == {"token", "expiresAt", "refreshToken", "refreshExpiresAt"}
    renewed = device_with(gateway.url, answer.json()["token"], answer.json()["refreshToken"])
    assert renewed.client.get("/api/devices").status_code == 200
    assert refresh(caller, renewed.refresh_token).status_code == 200


def test_using_one_twice_revokes_all_that_came_from_it(device: Device, caller: httpx.Client) -> None:
    newer = refresh(caller, device.refresh_token).json()["refreshToken"]

    assert refresh(caller, device.refresh_token).status_code == 401
    assert refresh(caller, newer).status_code == 401


def test_another_devices_family_outlives_that(gateway: GatewayProcess, device: Device, caller: httpx.Client) -> None:
    other = paired_device(gateway.url, device)
    refresh(caller, device.refresh_token)
    refresh(caller, device.refresh_token)

    assert refresh(caller, other.refresh_token).status_code == 200


def test_two_at_once_are_a_reuse(device: Device, caller: httpx.Client) -> None:
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda _: refresh(caller, device.refresh_token), range(2)))

    assert sorted(answer.status_code for answer in answers) == [200, 401]
    [winner] = [answer for answer in answers if answer.status_code == 200]
    assert refresh(caller, winner.json()["refreshToken"]).status_code == 401


def test_an_answer_that_got_lost_can_be_asked_for_again(device: Device, caller: httpx.Client) -> None:
    key = str(uuid4())

    first = refresh(caller, device.refresh_token, **{"Idempotency-Key": key})
    again = refresh(caller, device.refresh_token, **{"Idempotency-Key": key})

    assert again.status_code == 200
    assert again.json() == first.json()


def test_an_expired_one_is_401(device: Device, caller: httpx.Client, database_url: str) -> None:
    rows(database_url, "update refresh_token set expires_at = now() - interval '1 second' where device_id = $1", device.device_id)

    assert refresh(caller, device.refresh_token).status_code == 401


def test_an_unknown_one_is_401(caller: httpx.Client) -> None:
    assert refresh(caller, "never-issued").status_code == 401


def test_it_is_stored_hashed(device: Device, database_url: str) -> None:
    [row] = rows(
        database_url, "select to_jsonb(refresh_token)::text as all, token_hash from refresh_token where device_id = $1", device.device_id
    )

    assert len(row["token_hash"]) == 32
    assert device.refresh_token not in row["all"]


def test_pairing_anew_revokes_those_from_before(gateway: GatewayProcess, device: Device, caller: httpx.Client) -> None:
    second = paired_device(gateway.url, device)
    hardware_id = next(
        entry["hardwareId"] for entry in device.client.get("/api/devices").json()["devices"] if entry["id"] == str(second.device_id)
    )
    body = {"name": "Again", "hardwareId": hardware_id, "platform": "ios", "osVersion": "26"}
    pairing = device.client.post("/api/devices/register", json=body).json()
    caller.post("/api/devices/verify", json={"deviceId": pairing["deviceId"], "code": pairing["code"]}).raise_for_status()

    assert pairing["deviceId"] == str(second.device_id)
    assert refresh(caller, second.refresh_token).status_code == 401
