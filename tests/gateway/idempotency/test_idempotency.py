import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from tests.factories import Device, calls_from, new_address, paired_device, registration, wrong_code
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually


@pytest.fixture
def owner(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


@pytest.fixture
def key() -> str:
    return str(uuid4())


def register(client: httpx.Client, key: str, body: Any) -> httpx.Response:
    return client.post("/api/devices/register", json=body, headers={"Idempotency-Key": key})


@contextmanager
def device_held(database_url: str, device_id: UUID) -> Iterator[None]:
    """While this lasts, a request that writes this device's row waits: a handler that runs for as long as a test wants."""
    held, let_go = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(database_url)
        try:
            async with connection.transaction():
                await connection.execute("select from device where id = $1 for update", device_id)
                held.set()
                await asyncio.to_thread(let_go.wait)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        holding = thread.submit(asyncio.run, hold())
        assert held.wait(PATIENCE_SECONDS)
        try:
            yield
        finally:
            let_go.set()
            holding.result()


def wait_for_claim(database_url: str, owner: Device) -> None:
    claims = "select from idempotent_answer where owner = $1 and answer is null"
    eventually(lambda: bool(rows(database_url, claims, str(owner.account_id))))


def test_the_same_key_and_body_give_the_first_answer_again(owner: Device, key: str) -> None:
    body = registration()

    first, second = register(owner.client, key, body), register(owner.client, key, body)

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert second.headers["Content-Type"] == first.headers["Content-Type"]
    assert second.headers["X-Request-Id"] != first.headers["X-Request-Id"]


def test_without_a_token_too_and_one_account_is_made(gateway: GatewayProcess, key: str, database_url: str) -> None:
    body = registration()
    client = calls_from(gateway.url, new_address())

    first, second = register(client, key, body), register(client, key, body)

    assert second.json() == first.json()
    assert len(rows(database_url, "select from device where hardware_id = $1", body["hardwareId"])) == 1


def test_every_replica_knows_the_answer(gateway: GatewayProcess, second_gateway: GatewayProcess, owner: Device, key: str) -> None:
    body = registration()
    first = register(owner.client, key, body)

    elsewhere = register(calls_from(second_gateway.url, new_address(), owner.token), key, body)

    assert elsewhere.json() == first.json()


def test_the_table_shows_nobody_the_answer_or_the_key(owner: Device, key: str, database_url: str) -> None:
    pairing = register(owner.client, key, registration()).json()

    [row] = rows(database_url, "select * from idempotent_answer where owner = $1", str(owner.account_id))

    stored = b"".join(value for value in row.values() if isinstance(value, bytes))
    for secret in (key, pairing["deviceId"], pairing["code"], "expiresAt"):
        assert secret.encode() not in stored


def test_the_same_key_with_another_body_is_422(owner: Device, key: str) -> None:
    register(owner.client, key, registration())

    assert register(owner.client, key, registration()).status_code == 422


def test_the_same_key_for_another_address_is_422(gateway: GatewayProcess, key: str) -> None:
    client = calls_from(gateway.url, new_address())
    body = {"refreshToken": "x", **registration()}
    register(client, key, body).raise_for_status()

    assert client.post("/api/devices/refresh", json=body, headers={"Idempotency-Key": key}).status_code == 422


def test_while_the_first_request_runs_the_second_is_409(owner: Device, key: str, database_url: str) -> None:
    body = registration()
    device_id = UUID(owner.client.post("/api/devices/register", json=body).json()["deviceId"])
    with ThreadPoolExecutor(1) as thread:
        with device_held(database_url, device_id):
            first: Future[httpx.Response] = thread.submit(register, owner.client, key, body)
            wait_for_claim(database_url, owner)
            meanwhile = register(owner.client, key, body)
        answer = first.result()

    assert meanwhile.status_code == 409
    assert answer.status_code == 201
    assert register(owner.client, key, body).json() == answer.json()


def test_a_failed_request_may_be_tried_again_with_its_key(gateway: GatewayProcess, owner: Device, key: str) -> None:
    caller = calls_from(gateway.url, new_address())
    pairing = owner.client.post("/api/devices/register", json=registration()).json()
    headers = {"Idempotency-Key": key}
    wrong = {"deviceId": pairing["deviceId"], "code": wrong_code(pairing["code"])}
    right = {"deviceId": pairing["deviceId"], "code": pairing["code"]}

    assert caller.post("/api/devices/verify", json=wrong, headers=headers).status_code == 401
    assert caller.post("/api/devices/verify", json={}, headers=headers).status_code == 400
    assert caller.post("/api/devices/verify", json=right, headers=headers).status_code == 200
    assert caller.post("/api/devices/verify", json=right, headers=headers).status_code == 200


def test_twenty_at_once_create_one(gateway: GatewayProcess, key: str, database_url: str) -> None:
    client = calls_from(gateway.url, new_address())
    body = registration()

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: register(client, key, body), range(20)))

    created = [answer.json()["deviceId"] for answer in answers if answer.status_code == 201]
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len(set(created)) == 1
    assert len(rows(database_url, "select from device where hardware_id = $1", body["hardwareId"])) == 1


def test_another_accounts_key_is_another_key(gateway: GatewayProcess, owner: Device, key: str) -> None:
    body = registration()
    stranger = paired_device(gateway.url)

    own, other = register(owner.client, key, body), register(stranger.client, key, body)

    assert (own.status_code, other.status_code) == (201, 201)
    assert own.json()["deviceId"] != other.json()["deviceId"]


def test_another_addresss_key_is_another_key(gateway: GatewayProcess, key: str) -> None:
    body = registration()

    one, other = (register(calls_from(gateway.url, new_address()), key, body).json() for _ in range(2))

    assert one["deviceId"] != other["deviceId"]


@pytest.mark.parametrize("bad", ["", "short", "x" * 256])
def test_without_a_token_a_key_that_others_might_choose_is_400(gateway: GatewayProcess, bad: str) -> None:
    answer = register(calls_from(gateway.url, new_address()), bad, registration())

    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"] == "Idempotency-Key"


def test_a_gateway_that_was_killed_does_not_block_the_key_for_ever(
    run_folder: Path, database_url: str, redis_url: str, owner: Device, key: str
) -> None:
    body = registration()
    device_id = UUID(owner.client.post("/api/devices/register", json=body).json()["deviceId"])
    victim = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url="http://127.0.0.1:1")
    victim.start()
    doomed = calls_from(victim.url, new_address(), owner.token)
    with ThreadPoolExecutor(1) as thread:
        with device_held(database_url, device_id):
            broken = thread.submit(register, doomed, key, body)
            wait_for_claim(database_url, owner)
            victim.kill()
        assert isinstance(broken.exception(), httpx.TransportError)
    assert register(owner.client, key, body).status_code == 409

    rows(database_url, "update idempotent_answer set created_at = now() - interval '11 minutes' where owner = $1", str(owner.account_id))

    assert register(owner.client, key, body).status_code == 201
    assert register(owner.client, key, body).status_code == 201


def test_after_a_day_a_key_is_new_again(owner: Device, key: str, database_url: str) -> None:
    register(owner.client, key, registration())
    rows(database_url, "update idempotent_answer set created_at = now() - interval '25 hours' where owner = $1", str(owner.account_id))

    assert register(owner.client, key, registration()).status_code == 201
