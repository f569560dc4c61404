import asyncio
import math
from collections import Counter
from pathlib import Path
from uuid import uuid4

import aiohttp
import httpx
import pytest

from tests.factories import calls_from, new_address, registration, wrong_code
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.redis_client import Redis


def announced(client: httpx.Client) -> dict[str, str]:
    return dict(client.post("/api/devices/register", json=registration()).raise_for_status().json())


def guess(client: httpx.Client, device_id: str, code: str, forwarded_for: str | None = None) -> httpx.Response:
    headers = {"X-Forwarded-For": forwarded_for} if forwarded_for else {}
    return client.post("/api/devices/verify", json={"deviceId": device_id, "code": code}, headers=headers)


def test_of_a_thousand_parallel_guesses_at_two_gateways_five_are_evaluated(
    gateway: GatewayProcess, second_gateway: GatewayProcess, database_url: str
) -> None:
    address = new_address()
    pairing = announced(calls_from(gateway.url, address))
    codes = [f"{number:06d}" for number in range(1001) if f"{number:06d}" != pairing["code"]][:1000]

    async def guess_all() -> list[int]:
        connector = aiohttp.TCPConnector(limit=200, local_addr=(address, 0))
        async with aiohttp.ClientSession(connector=connector) as session:

            async def guess_one(number: int, code: str) -> int:
                url = f"{(gateway, second_gateway)[number % 2].url}/api/devices/verify"
                async with session.post(url, json={"deviceId": pairing["deviceId"], "code": code}) as answer:
                    return answer.status

            return await asyncio.gather(*(guess_one(number, code) for number, code in enumerate(codes)))

    answers = asyncio.run(guess_all())

    assert Counter(answers) == {401: 5, 429: 995}
    assert not rows(database_url, "select from pairing_code where device_id = $1", pairing["deviceId"])


def test_the_fifth_wrong_code_burns_the_code_and_the_sixth_attempt_waits(gateway: GatewayProcess, database_url: str) -> None:
    client = calls_from(gateway.url, new_address())
    pairing = announced(client)

    answers = [guess(client, pairing["deviceId"], wrong_code(pairing["code"])) for _ in range(5)]
    sixth = guess(client, pairing["deviceId"], pairing["code"])

    assert [answer.status_code for answer in answers] == [401] * 5
    assert "register again" in answers[-1].json()["message"]
    assert sixth.status_code == 429
    assert 840 <= int(sixth.headers["Retry-After"]) <= 900
    assert not rows(database_url, "select from pairing_code where device_id = $1", pairing["deviceId"])


def test_four_wrong_codes_leave_the_fifth_attempt_to_the_right_one(gateway: GatewayProcess) -> None:
    client = calls_from(gateway.url, new_address())
    pairing = announced(client)
    for _ in range(4):
        guess(client, pairing["deviceId"], wrong_code(pairing["code"]))

    assert guess(client, pairing["deviceId"], pairing["code"]).status_code == 200


def milliseconds(redis: "Redis") -> int:
    """Its clock's time."""
    seconds, microseconds = redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def test_retry_after_is_when_the_oldest_attempt_leaves_the_window(gateway: GatewayProcess, redis: "Redis") -> None:
    client = calls_from(gateway.url, new_address())
    device_id = str(uuid4())
    key = f"{{pairing}}:device:{device_id}"
    now = milliseconds(redis)
    redis.zadd(key, {f"attempt-{number}": now - 870_050 + number for number in range(5)})

    limited = guess(client, device_id, "123456")

    elapsed = milliseconds(redis) - now
    assert limited.status_code == 429
    assert math.ceil((29_950 - elapsed) / 1000) <= int(limited.headers["Retry-After"]) <= 30
    redis.zadd(key, {f"attempt-{number}": now - 900_000 + number for number in range(5)})
    assert guess(client, device_id, "123456").status_code == 401


def test_a_device_that_does_not_exist_is_limited_alike_and_its_traces_go_with_the_window(gateway: GatewayProcess, redis: "Redis") -> None:
    client = calls_from(gateway.url, new_address())
    device_id = str(uuid4())

    answers = [guess(client, device_id, "123456").status_code for _ in range(6)]

    assert answers == [401] * 5 + [429]
    assert redis.zcard(f"{{pairing}}:device:{device_id}") == 5
    assert 0 < redis.pttl(f"{{pairing}}:device:{device_id}") <= 900_000


def test_fifty_wrong_codes_of_an_address_are_the_limit_and_right_ones_do_not_count(gateway: GatewayProcess, redis: "Redis") -> None:
    address = new_address()
    client = calls_from(gateway.url, address)
    pairing = announced(client)
    assert guess(client, pairing["deviceId"], pairing["code"]).status_code == 200

    wrong = [guess(client, str(uuid4()), "123456").status_code for _ in range(51)]

    assert wrong == [401] * 50 + [429]
    assert redis.zcard(f"{{pairing}}:address:{address}") == 50
    assert guess(calls_from(gateway.url, new_address()), str(uuid4()), "123456").status_code == 401


def test_behind_a_trusted_proxy_the_clients_own_address_counts(second_gateway: GatewayProcess, redis: "Redis") -> None:
    with httpx.Client(base_url=second_gateway.url) as proxy:
        guess(proxy, str(uuid4()), "123456", forwarded_for="2001:db8:1:2:3:4:5:6")
        guess(proxy, str(uuid4()), "123456", forwarded_for="2001:db8:1:2:ffff::1")

    assert redis.zcard("{pairing}:address:2001:db8:1:2::/64") == 2


def test_an_untrusted_callers_forwarded_address_is_not_believed(gateway: GatewayProcess, redis: "Redis") -> None:
    address = new_address()

    guess(calls_from(gateway.url, address), str(uuid4()), "123456", forwarded_for="198.51.100.7")

    assert redis.zcard(f"{{pairing}}:address:{address}") == 1
    assert not redis.exists("{pairing}:address:198.51.100.7")


@pytest.fixture
def gateway_without_redis(run_folder: Path, database_url: str) -> GatewayProcess:
    return GatewayProcess(
        run_folder, database_url=database_url, redis_url=f"redis://127.0.0.1:{free_port()}/0", ml_service_url="http://127.0.0.1:1"
    )


def test_codes_are_not_evaluated_uncounted_while_redis_is_away(gateway_without_redis: GatewayProcess, gateway: GatewayProcess) -> None:
    gateway_without_redis.start()
    try:
        client = calls_from(gateway_without_redis.url, new_address())
        pairing = announced(calls_from(gateway.url, new_address()))

        answer = guess(client, pairing["deviceId"], pairing["code"])

        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        assert client.post("/api/devices/register", json=registration()).status_code == 503
        assert guess(calls_from(gateway.url, new_address()), pairing["deviceId"], pairing["code"]).status_code == 200
    finally:
        gateway_without_redis.stop()
