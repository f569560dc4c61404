from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from tests.factories import Device, calls_from, device_with, new_address, paired_device
from tests.fixtures.database import holding_device, rows, somebody_waits
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import eventually
from tests.gateway.events.readers import listening, received, rest_of


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


def test_using_one_twice_ends_both_access_tokens(gateway: GatewayProcess, device: Device, caller: httpx.Client) -> None:
    """One of the two users is a thief, and may have refreshed first: what the thief was given must end, too."""
    other = paired_device(gateway.url, device)
    newer = refresh(caller, device.refresh_token).json()
    renewed = device_with(gateway.url, newer["token"], newer["refreshToken"])
    assert renewed.client.get("/api/devices").status_code == 200

    refresh(caller, device.refresh_token)

    assert device.client.get("/api/devices").status_code == 401
    assert renewed.client.get("/api/devices").status_code == 401
    assert other.client.get("/api/devices").status_code == 200


def test_the_accounts_other_devices_hear_of_a_reuse_and_the_devices_own_streams_end(
    gateway: GatewayProcess, device: Device, caller: httpx.Client
) -> None:
    other = paired_device(gateway.url, device)
    with listening(gateway.url, other.token) as stays, listening(gateway.url, device.token) as ends:
        refresh(caller, device.refresh_token)
        refresh(caller, device.refresh_token)

        (told,) = received(stays)
        assert (told["type"], told["data"]) == ("device:token_reused", {"deviceId": str(device.device_id)})
        assert rest_of(ends)[1] == 4401


def test_a_device_that_is_paired_again_after_a_reuse_has_good_tokens(gateway: GatewayProcess, device: Device, caller: httpx.Client) -> None:
    other = paired_device(gateway.url, device)
    refresh(caller, device.refresh_token)
    refresh(caller, device.refresh_token)

    again = paired_again(gateway.url, other, device)

    assert again.client.get("/api/devices").status_code == 200
    assert refresh(caller, again.refresh_token).status_code == 200


def test_an_old_token_of_an_earlier_pairing_ends_nothing(gateway: GatewayProcess, device: Device, caller: httpx.Client) -> None:
    refresh(caller, device.refresh_token)
    again = paired_again(gateway.url, device, device)

    assert refresh(caller, device.refresh_token).status_code == 401
    assert again.client.get("/api/devices").status_code == 200
    assert refresh(caller, again.refresh_token).status_code == 200


def test_a_refresh_that_is_under_way_is_revoked_with_its_family(device: Device, caller: httpx.Client, database_url: str) -> None:
    """The new token of a refresh that has not committed yet cannot be seen: whoever revokes the family waits for it."""
    refresh(caller, device.refresh_token)
    with holding_device(database_url, device) as connection, ThreadPoolExecutor(1) as threads:
        reuse = threads.submit(refresh, caller, device.refresh_token)
        eventually(lambda: reuse.done() or somebody_waits(database_url))
        connection.run(
            "insert into refresh_token (id, family_id, device_id, token_hash, created_at, expires_at)"
            " select gen_random_uuid(), family_id, device_id, '\\x01' || token_hash, now(), expires_at from refresh_token"
            " where device_id = $1 limit 1",
            device.device_id,
        )
        connection.commit()
        assert reuse.result().status_code == 401

    left = "select count(*) from refresh_token where device_id = $1 and revoked_at is null"
    assert rows(database_url, left, device.device_id)[0]["count"] == 0


def test_a_refresh_waits_for_whoever_shuts_the_device_out(device: Device, caller: httpx.Client, database_url: str) -> None:
    with holding_device(database_url, device) as connection, ThreadPoolExecutor(1) as threads:
        renewing = threads.submit(refresh, caller, device.refresh_token)
        eventually(lambda: renewing.done() or somebody_waits(database_url))
        connection.run("update device set status = 'deactivated' where id = $1", device.device_id)
        connection.run("update refresh_token set revoked_at = now() where device_id = $1", device.device_id)
        connection.commit()

        assert renewing.result().status_code == 401


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

    again = paired_again(gateway.url, device, second)

    assert again.device_id == second.device_id
    assert refresh(caller, second.refresh_token).status_code == 401


def paired_again(url: str, owner: Device, device: Device) -> Device:
    """The same hardware, registered by a device of the account and verified once more."""
    listed = owner.client.get("/api/devices").json()["devices"]
    hardware_id = next(entry["hardwareId"] for entry in listed if entry["id"] == str(device.device_id))
    body = {"name": "Again", "hardwareId": hardware_id, "platform": "ios", "osVersion": "26"}
    pairing = owner.client.post("/api/devices/register", json=body).json()
    proof = {"deviceId": pairing["deviceId"], "code": pairing["code"]}
    verified = calls_from(url, new_address()).post("/api/devices/verify", json=proof)
    assert verified.status_code == 200, verified.text
    return device_with(url, verified.json()["token"], verified.json()["refreshToken"])
