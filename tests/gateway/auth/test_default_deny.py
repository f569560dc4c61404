"""Walks every address that the gateway documents, so that a new slice is covered without a line here."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.factories import NO_TLS, calls_from, new_address, own_rows, paired_device
from tests.fixtures.gateway import GatewayProcess

PUBLIC = {
    ("POST", "/api/devices/register"),
    ("POST", "/api/devices/verify"),
    ("POST", "/api/devices/refresh"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/api/v1/status"),
}
# A body that is good enough for the id to be looked at; for addresses whose body has required fields.
BODIES: dict[str, dict[str, Any]] = {
    "/api/responses/{response_id}/action": {"action": "accept"},
    "/api/v1/conversation/{name}/files": {"fileNames": ["a"]},
    "/api/v1/conversation/{name}/run": {"command": "a"},
    "/api/v1/conversation/{name}/external": {"url": "a"},
}
PARAMETERS = {"/api/v1/conversation/{name}/files": {"fileName": "a"}}


@dataclass(frozen=True)
class Operation:
    method: str
    path: str

    def address(self, ids: dict[str, UUID]) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: str(ids.get(found[1], uuid4())), self.path)


def operations(gateway: GatewayProcess) -> Iterator[Operation]:
    document = httpx.get(f"{gateway.url}/openapi.json", verify=NO_TLS).json()
    for path, methods in document["paths"].items():
        for method in methods:
            yield Operation(method.upper(), path)


def test_every_address_but_the_documented_ones_asks_for_a_token(gateway: GatewayProcess) -> None:
    client = calls_from(gateway.url, new_address())

    let_in = {
        (operation.method, operation.path)
        for operation in operations(gateway)
        if client.request(operation.method, operation.address({})).status_code != 401
    }

    assert let_in == PUBLIC


def test_no_address_shows_a_stranger_what_is_not_theirs(gateway: GatewayProcess, database_url: str) -> None:
    owner, stranger = paired_device(gateway.url), paired_device(gateway.url)
    ids = own_rows(database_url, owner)

    answers = {
        f"{operation.method} {operation.path}": stranger.client.request(
            operation.method,
            operation.address(ids),
            params=PARAMETERS.get(operation.path),
            json=BODIES.get(operation.path, {}) if operation.method in ("POST", "PUT", "PATCH") else None,
        )
        for operation in operations(gateway)
        if "{" in operation.path
    }

    # The workspace is closed here; `tests/gateway/workspace` has a stranger where it is open.
    closed = {name for name in answers if "/api/v1/" in name}
    assert {answers.pop(name).status_code for name in closed} == {403}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 404)
    assert owner.client.get("/api/devices").status_code == 200


def test_the_owner_does_see_those_rows(gateway: GatewayProcess, database_url: str) -> None:
    owner = paired_device(gateway.url)
    ids = own_rows(database_url, owner)

    read = [
        operation
        for operation in operations(gateway)
        if operation.method == "GET" and (names := re.findall(r"\{(\w+)\}", operation.path)) and set(names) <= set(ids)
    ]

    for operation in read:
        assert owner.client.get(operation.address(ids)).status_code == 200, operation


@pytest.mark.parametrize("path", ["/api/nothing", "/api/devices/not-a-uuid/deactivate"])
def test_an_address_that_does_not_exist_is_404_without_a_token_too(gateway: GatewayProcess, path: str) -> None:
    assert calls_from(gateway.url, new_address()).post(path).status_code == 404
