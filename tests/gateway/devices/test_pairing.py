from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from tests.factories import Device, calls_from, new_address, paired_device, registration, wrong_code
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess


@pytest.fixture
def caller(gateway: GatewayProcess) -> httpx.Client:
    """Somebody without a token, at an address of their own."""
    return calls_from(gateway.url, new_address())


def register(client: httpx.Client, **changes: str) -> dict[str, str]:
    answer = client.post("/api/devices/register", json=registration(**changes))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def verify(client: httpx.Client, device_id: str, code: str) -> httpx.Response:
    return client.post("/api/devices/verify", json={"deviceId": device_id, "code": code})


def test_the_documented_registration_gives_a_code_for_ten_minutes(caller: httpx.Client) -> None:
    body = {"name": "MacBook Pro", "hardwareId": "ABC123-DEF456", "platform": "macos", "osVersion": "14.0"}

    answer = caller.post("/api/devices/register", json=body)

    assert answer.status_code == 201
    assert set(answer.json()) == {"deviceId", "code", "expiresAt"}
    assert answer.json()["code"].isdecimal()
    assert len(answer.json()["code"]) == 6
    assert answer.json()["expiresAt"].endswith("Z")
    assert minutes_from_now(answer.json()["expiresAt"]) == pytest.approx(10, abs=0.2)


def test_the_right_code_gives_tokens_for_a_week_and_ninety_days(caller: httpx.Client) -> None:
    pairing = register(caller)

    answer = verify(caller, pairing["deviceId"], pairing["code"])

    assert answer.status_code == 200
    assert set(answer.json()) == {"token", "expiresAt", "refreshToken", "refreshExpiresAt"}
    assert minutes_from_now(answer.json()["expiresAt"]) == pytest.approx(7 * 24 * 60, abs=0.2)
    assert minutes_from_now(answer.json()["refreshExpiresAt"]) == pytest.approx(90 * 24 * 60, abs=0.2)


def test_a_wrong_code_is_401_and_the_right_one_still_works(caller: httpx.Client) -> None:
    pairing = register(caller)

    assert verify(caller, pairing["deviceId"], wrong_code(pairing["code"])).status_code == 401
    assert verify(caller, pairing["deviceId"], pairing["code"]).status_code == 200


def test_a_code_works_once(caller: httpx.Client) -> None:
    pairing = register(caller)
    verify(caller, pairing["deviceId"], pairing["code"])

    assert verify(caller, pairing["deviceId"], pairing["code"]).status_code == 401


def test_an_expired_code_says_so_and_a_wrong_one_does_not(caller: httpx.Client, database_url: str) -> None:
    pairing = register(caller)
    rows(database_url, "update pairing_code set expires_at = now() - interval '1 second' where device_id = $1", pairing["deviceId"])

    expired = verify(caller, pairing["deviceId"], pairing["code"])
    wrong = verify(caller, pairing["deviceId"], wrong_code(pairing["code"]))

    assert (expired.status_code, wrong.status_code) == (401, 401)
    assert "expired" in expired.json()["message"]
    assert "expired" not in wrong.json()["message"]


def test_an_unknown_device_is_answered_as_a_wrong_code_is(caller: httpx.Client) -> None:
    pairing = register(caller)

    wrong = verify(caller, pairing["deviceId"], wrong_code(pairing["code"]))
    unknown = verify(caller, str(uuid4()), "123456")

    assert without_id(unknown) == without_id(wrong)


def test_only_a_keyed_hash_of_the_code_is_stored(caller: httpx.Client, database_url: str) -> None:
    pairing = register(caller)

    [row] = rows(
        database_url, "select code_hash, to_jsonb(pairing_code)::text as all from pairing_code where device_id = $1", pairing["deviceId"]
    )

    assert len(row["code_hash"]) == 32
    assert pairing["code"] not in row["all"].replace(pairing["deviceId"], "")


def test_the_same_hardware_of_an_account_is_the_same_device_with_a_new_code(gateway: GatewayProcess, caller: httpx.Client) -> None:
    owner = paired_device(gateway.url)
    first = register(owner.client, hardwareId="HW-1", name="Old name")

    second = register(owner.client, hardwareId="HW-1", name="New name")

    assert second["deviceId"] == first["deviceId"]
    assert "New name" in names(owner)
    assert "Old name" not in names(owner)
    assert verify(caller, first["deviceId"], first["code"]).status_code == 401
    assert verify(caller, first["deviceId"], second["code"]).status_code == 200


def test_a_hardware_id_never_reaches_another_accounts_device(gateway: GatewayProcess, caller: httpx.Client) -> None:
    owner = paired_device(gateway.url)
    own = register(owner.client, hardwareId="SHARED-HW")

    without_token = register(caller, hardwareId="SHARED-HW")
    with_strangers_token = register(paired_device(gateway.url).client, hardwareId="SHARED-HW")

    assert len({own["deviceId"], without_token["deviceId"], with_strangers_token["deviceId"]}) == 3


def test_a_device_that_is_registered_with_a_token_joins_the_account(gateway: GatewayProcess) -> None:
    owner = paired_device(gateway.url)

    second = paired_device(gateway.url, owner)

    assert second.account_id == owner.account_id
    assert second.device_id != owner.device_id


def test_registering_with_a_bad_token_makes_no_account(caller: httpx.Client) -> None:
    answer = caller.post("/api/devices/register", json=registration(), headers={"Authorization": "Bearer nonsense"})

    assert answer.status_code == 401


def test_pairing_anew_voids_the_tokens_from_before(gateway: GatewayProcess) -> None:
    owner = paired_device(gateway.url)
    device = paired_device(gateway.url, owner)
    listed = owner.client.get("/api/devices").json()["devices"]
    hardware_id = next(entry["hardwareId"] for entry in listed if entry["id"] == str(device.device_id))
    again = owner.client.post("/api/devices/register", json=registration(hardwareId=hardware_id)).json()
    calls_from(gateway.url, new_address()).post(
        "/api/devices/verify", json={"deviceId": again["deviceId"], "code": again["code"]}
    ).raise_for_status()

    assert device.client.get("/api/devices").status_code == 401
    assert owner.client.get("/api/devices").status_code == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"hardwareId": "x" * 201}, "hardwareId"),
        ({"platform": "beos"}, "platform"),
        ({"osVersion": 14}, "osVersion"),
    ],
)
def test_a_bad_registration_is_400_and_names_the_field(caller: httpx.Client, change: dict[str, str], field: str) -> None:
    answer = caller.post("/api/devices/register", json=registration(**change))

    assert answer.status_code == 400
    assert [problem["field"] for problem in answer.json()["details"]] == [field]


@pytest.mark.parametrize(
    ("body", "field"),
    [({"deviceId": "x", "code": "123456"}, "deviceId"), ({"deviceId": "01890000-0000-7000-8000-000000000000", "code": "12345"}, "code")],
)
def test_a_bad_verification_is_400_and_no_attempt(caller: httpx.Client, body: dict[str, str], field: str) -> None:
    answers = [caller.post("/api/devices/verify", json=body) for _ in range(6)]

    assert {answer.status_code for answer in answers} == {400}
    assert answers[0].json()["details"][0]["field"] == field


def names(device: Device) -> list[str]:
    return [entry["name"] for entry in device.client.get("/api/devices").json()["devices"]]


def minutes_from_now(time: str) -> float:
    return (datetime.fromisoformat(time) - datetime.now(UTC)) / timedelta(minutes=1)


def without_id(answer: httpx.Response) -> tuple[int, dict[str, str]]:
    return answer.status_code, {key: value for key, value in answer.json().items() if key != "requestId"}
