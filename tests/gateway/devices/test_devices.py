from uuid import uuid4

import pytest

from tests.factories import Device, calls_from, new_address, paired_device, registration
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess


@pytest.fixture
def owner(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


def test_the_list_shows_every_device_of_the_account_and_no_secrets(gateway: GatewayProcess, owner: Device) -> None:
    second = paired_device(gateway.url, owner)
    paired_device(gateway.url)
    pending = owner.client.post("/api/devices/register", json=registration(name="Waiting", platform="ios")).json()

    devices = owner.client.get("/api/devices").json()["devices"]

    assert [(entry["id"], entry["status"], entry["current"]) for entry in devices] == [
        (str(owner.device_id), "active", True),
        (str(second.device_id), "active", False),
        (pending["deviceId"], "pending", False),
    ]
    assert set(devices[2]) == {
        "id", "name", "hardwareId", "platform", "osVersion", "status", "current", "createdAt", "verifiedAt", "lastSeenAt",
    }  # fmt: skip
    assert (devices[2]["name"], devices[2]["platform"], devices[2]["verifiedAt"]) == ("Waiting", "ios", None)
    assert devices[0]["createdAt"].endswith("Z")


def test_a_request_is_noted_as_seen_at_most_once_a_minute(owner: Device, database_url: str) -> None:
    def last_seen() -> object:
        return rows(database_url, "select last_seen_at from device where id = $1", owner.device_id)[0]["last_seen_at"]

    at_pairing = last_seen()
    owner.client.get("/api/devices")
    assert last_seen() == at_pairing
    rows(database_url, "update device set last_seen_at = now() - interval '2 minutes' where id = $1", owner.device_id)
    before = last_seen()

    owner.client.get("/api/devices")

    assert last_seen() > before  # type: ignore[operator]


def test_a_deactivated_device_is_403_at_its_next_request_on_every_gateway(
    gateway: GatewayProcess, second_gateway: GatewayProcess, owner: Device
) -> None:
    device = paired_device(gateway.url, owner)
    there = calls_from(second_gateway.url, new_address())
    authorization = {"Authorization": f"Bearer {device.token}"}
    assert there.get("/api/devices", headers=authorization).status_code == 200

    answer = owner.client.post(f"/api/devices/{device.device_id}/deactivate")

    assert answer.status_code == 200
    assert answer.json()["device"]["status"] == "deactivated"
    assert there.get("/api/devices", headers=authorization).status_code == 403
    assert device.client.get("/api/devices").status_code == 403
    assert owner.client.get("/api/devices").status_code == 200


def test_its_refresh_token_and_its_pending_code_die_with_it(gateway: GatewayProcess, owner: Device) -> None:
    caller = calls_from(gateway.url, new_address())
    device = paired_device(gateway.url, owner)
    pending = owner.client.post("/api/devices/register", json=registration()).json()
    owner.client.post(f"/api/devices/{device.device_id}/deactivate")
    owner.client.post(f"/api/devices/{pending['deviceId']}/deactivate")

    refreshed = caller.post("/api/devices/refresh", json={"refreshToken": device.refresh_token})
    verified = caller.post("/api/devices/verify", json={"deviceId": pending["deviceId"], "code": pending["code"]})

    assert (refreshed.status_code, verified.status_code) == (401, 401)


def test_deactivating_twice_changes_nothing(gateway: GatewayProcess, owner: Device) -> None:
    device = paired_device(gateway.url, owner)
    first = owner.client.post(f"/api/devices/{device.device_id}/deactivate")

    again = owner.client.post(f"/api/devices/{device.device_id}/deactivate")

    assert again.status_code == 200
    assert again.json() == first.json()


def test_a_device_may_deactivate_itself(gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)

    assert device.client.post(f"/api/devices/{device.device_id}/deactivate").json()["device"]["current"] is True
    assert device.client.get("/api/devices").status_code == 403


def test_registering_a_deactivated_device_leaves_it_out_until_its_code_is_verified(gateway: GatewayProcess, owner: Device) -> None:
    hardware_id = uuid4().hex
    caller = calls_from(gateway.url, new_address())
    first = owner.client.post("/api/devices/register", json=registration(hardwareId=hardware_id)).json()
    owner.client.post(f"/api/devices/{first['deviceId']}/deactivate")

    again = owner.client.post("/api/devices/register", json=registration(hardwareId=hardware_id)).json()

    assert status_of(owner, again["deviceId"]) == "deactivated"
    caller.post("/api/devices/verify", json={"deviceId": again["deviceId"], "code": again["code"]}).raise_for_status()
    assert status_of(owner, first["deviceId"]) == "active"


def test_another_accounts_device_is_404_as_an_unknown_one_is(gateway: GatewayProcess, owner: Device) -> None:
    stranger = paired_device(gateway.url)

    foreign = stranger.client.post(f"/api/devices/{owner.device_id}/deactivate")
    unknown = stranger.client.post(f"/api/devices/{uuid4()}/deactivate")

    assert (foreign.status_code, foreign.json()["message"]) == (404, unknown.json()["message"])
    assert owner.client.get("/api/devices").status_code == 200


def status_of(owner: Device, device_id: str) -> str:
    return str(next(entry["status"] for entry in owner.client.get("/api/devices").json()["devices"] if entry["id"] == device_id))
