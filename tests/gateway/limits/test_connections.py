"""What strangers may send, how long they may take, and how many may come."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from gateway.limits import bodies, connections
from tests.factories import Device, calls_from, new_address, registration
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually
from tests.gateway.events.readers import listening

UNFINISHED = b"POST /api/devices/refresh HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
"""A request whose body never ends."""


def connected(gateway: GatewayProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_SECONDS)


def answer_to(connection: socket.socket) -> bytes:
    """All that comes until the gateway closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


class TestBodies:
    @pytest.mark.parametrize("path", ["register", "verify", "refresh"])
    @pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "a-key-that-is-long-enough"}])
    def test_strangers_send_16_kib(self, gateway: GatewayProcess, path: str, key: dict[str, str]) -> None:
        client = calls_from(gateway.url, new_address())

        answer = client.post(f"/api/devices/{path}", json={"refreshToken": "x" * 17_000}, headers=key)

        assert answer.status_code == 413
        assert "16 KiB" in answer.json()["message"]

    def test_also_when_they_do_not_say_how_much_comes(self, gateway: GatewayProcess) -> None:
        pieces = (b"x" * 1000 for _ in range(20))

        answer = calls_from(gateway.url, new_address()).post(
            "/api/devices/refresh", content=pieces, headers={"Content-Type": "application/json"}
        )

        assert answer.status_code == 413

    def test_who_has_a_token_sends_8_mib(self, gateway: GatewayProcess) -> None:
        with closing(connected(gateway)) as connection:
            connection.sendall(
                b"POST /api/sync/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                % (8 * 2**20 + 1)
            )

            assert answer_to(connection).startswith(b"HTTP/1.1 413 ")


def no_body_comes(gateway: GatewayProcess) -> None:
    with closing(connected(gateway)) as connection:
        connection.sendall(UNFINISHED)
        began = time.monotonic()

        answer = answer_to(connection)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"error":"Request Timeout"' in answer
    assert time.monotonic() - began >= bodies.SMALL_BODY_SECONDS - 1


def nothing_comes(gateway: GatewayProcess) -> None:
    with closing(connected(gateway)) as connection:
        assert answer_to(connection) == b""


def nothing_comes_after_an_answer(gateway: GatewayProcess) -> None:
    with closing(connected(gateway)) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\nGET /health/live HTTP/1.1\r\n")

        answer = answer_to(connection)

    assert answer.count(b"HTTP/1.1 200 ") == 1


def headers_trickle(gateway: GatewayProcess) -> None:
    with closing(connected(gateway)) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\n")
        deadline = time.monotonic() + connections.HEADER_SECONDS + PATIENCE_SECONDS
        connection.settimeout(0.5)
        while time.monotonic() < deadline:
            try:
                connection.sendall(b"x-slow: 1\r\n")
                if connection.recv(1) == b"":
                    return
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                return

    pytest.fail("it may go on for ever")


def test_who_takes_too_long_is_cut_off(gateway: GatewayProcess) -> None:
    """Each after ten seconds, so all at the same time."""
    slow = (no_body_comes, nothing_comes, nothing_comes_after_an_answer, headers_trickle)
    with ThreadPoolExecutor(len(slow)) as pool:
        for outcome in [pool.submit(check, gateway) for check in slow]:
            outcome.result()


class TestHeaders:
    def test_headers_without_end_are_refused(self, gateway: GatewayProcess) -> None:
        with closing(connected(gateway)) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nx-long: ")
            try:
                for _ in range(1000):
                    connection.sendall(b"x" * 1000)
                answer = answer_to(connection)
            except (BrokenPipeError, ConnectionResetError):
                return

        assert answer.startswith(b"HTTP/1.1 431 ")


class TestConnections:
    def test_who_comes_when_all_are_taken_is_told_to_come_later(self, owner: Device, narrow_gateway: GatewayProcess) -> None:
        with ExitStack() as stack:
            for _ in range(8):
                connection = stack.enter_context(closing(connected(narrow_gateway)))
                connection.sendall(UNFINISHED)
            eventually(lambda: owner.client.get("/api/devices").status_code == 503)
            answer = owner.client.get("/api/devices")

            assert answer.json()["error"] == "Service Unavailable"
            assert answer.json()["requestId"] == answer.headers["X-Request-Id"]
            assert int(answer.headers["Retry-After"]) > 0
            assert httpx.get(f"{narrow_gateway.url}/health/live").status_code == 200
            with pytest.raises(InvalidStatus, match="503"), listening(narrow_gateway.url, owner.token):
                pass

        eventually(lambda: owner.client.get("/api/devices").status_code == 200)

    def test_more_connections_than_that_are_closed_at_once(self, narrow_gateway: GatewayProcess) -> None:
        with ExitStack() as stack:
            for _ in range(8 + connections.SPARE_CONNECTIONS):
                stack.enter_context(closing(connected(narrow_gateway)))
            last = stack.enter_context(closing(connected(narrow_gateway)))

            answer = answer_to(last)

        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 5\r\n" in answer
        assert b'"statusCode":503' in answer
        eventually(lambda: httpx.get(f"{narrow_gateway.url}/health/live").status_code == 200)


def test_an_address_registers_so_often(
    gateway: GatewayProcess, redis_url: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    process = GatewayProcess(
        tmp_path_factory.mktemp("registrations"),
        database_url=database_url,
        redis_url=redis_url,
        ml_service_url=gateway.url,
        max_registrations_per_address="3",
    )
    process.start()
    try:
        client, neighbour = calls_from(process.url, new_address()), calls_from(process.url, new_address())

        answers = [client.post("/api/devices/register", json=registration()) for _ in range(4)]

        assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
        assert 0 < int(answers[3].headers["Retry-After"]) <= 15 * 60
        assert neighbour.post("/api/devices/register", json=registration()).status_code == 201
    finally:
        process.stop()
