"""The library knows the API as the gateway describes it: every address has a method, and every body has the same fields."""

import inspect
from types import NoneType
from typing import Any

import msgspec
import pytest
from assistant_client import AsyncClient, Client, calls, endpoints
from assistant_client.endpoints import Call, Endpoint
from assistant_client.models import Event

from tests.clients.openapi_fields import Direction, differences, fields
from tests.gateway.http.openapi import document

ENDPOINTS = {name: value for name, value in vars(endpoints).items() if isinstance(value, Endpoint)}
CALLS = {name: value for name, value in vars(calls).items() if inspect.isfunction(value) and not name.startswith("_")}
ANOTHER_API = "/api/v1/"
"""The workspace assistant's."""
NOT_DESCRIBED = {"DRAFT", "STREAM_DRAFT"}
"""The document has no schema of their answers. The story's test reads some."""
OF_PAIRING = {"REGISTER", "VERIFY", "REFRESH"}
"""They belong to `pair`, and to renewing a token."""


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return document()


def operation(openapi: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    return dict(openapi["paths"][endpoint.path][endpoint.method.lower()])


def compared(openapi: dict[str, Any], model: Any, schema: dict[str, Any], direction: Direction) -> list[str]:
    [ours], components = msgspec.json.schema_components([model], ref_template="#/components/schemas/{name}")
    theirs = fields(schema, openapi["components"]["schemas"])
    return list(differences(fields(ours, components), theirs, direction))


def test_every_address_is_known(openapi: dict[str, Any]) -> None:
    paths = {path: operations for path, operations in openapi["paths"].items() if path.startswith("/api/")}
    described = {(method.upper(), path) for path in paths for method in paths[path] if not path.startswith(ANOTHER_API)}

    assert {(each.method, each.path) for each in ENDPOINTS.values()} == described


@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_body_has_the_same_fields(openapi: dict[str, Any], name: str) -> None:
    endpoint = ENDPOINTS[name]
    described = operation(openapi, endpoint).get("requestBody")
    if described is None:
        assert endpoint.body is None
        return

    assert compared(openapi, endpoint.body, described["content"]["application/json"]["schema"], "a request") == []


@pytest.mark.parametrize("name", ENDPOINTS)
def test_an_address_takes_the_same_parameters(openapi: dict[str, Any], name: str) -> None:
    endpoint = ENDPOINTS[name]
    described = [each for each in operation(openapi, endpoint).get("parameters", []) if each["in"] == "query"]
    if not described:
        assert endpoint.query is None
        return
    schema = {
        "properties": {each["name"]: each["schema"] for each in described},
        "required": [each["name"] for each in described if each.get("required")],
    }

    assert compared(openapi, endpoint.query, schema, "a request") == []


@pytest.mark.parametrize("name", [name for name in ENDPOINTS if name not in NOT_DESCRIBED])
def test_an_answer_has_the_same_fields(openapi: dict[str, Any], name: str) -> None:
    endpoint = ENDPOINTS[name]
    responses = operation(openapi, endpoint)["responses"]
    content = responses[min(status for status in responses if status < "300" and (name != "QUEUE_DRAFT" or status == "202"))].get("content")
    match content:
        case {"application/json": described}:
            assert compared(openapi, endpoint.answer, described["schema"], "an answer") == []
        case {"text/event-stream": described}:
            assert compared(openapi, Event, described["schema"], "an answer") == []
        case {"text/html": _}:
            assert endpoint.answer is str
        case {"application/zip": _}:
            assert endpoint.answer is bytes
        case _:
            assert endpoint.answer is NoneType


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("name", CALLS)
def test_every_call_is_a_method_of_both_clients(client: type, name: str) -> None:
    method = getattr(client, name)

    assert method.__doc__
    ours, described = inspect.signature(method).parameters, inspect.signature(CALLS[name]).parameters
    assert set(described) <= set(ours)


@pytest.mark.parametrize("name", [name for name in ENDPOINTS if name not in OF_PAIRING])
def test_every_endpoint_has_a_call(name: str) -> None:
    assert f"endpoints.{name}," in inspect.getsource(calls) or f"endpoints.{name})" in inspect.getsource(calls)


def test_a_call_says_its_answer() -> None:
    for name, function in CALLS.items():
        assert inspect.signature(function).return_annotation.__origin__ is Call, name


def test_what_differs_is_named() -> None:
    ours = {"properties": {"a": {"type": "string"}, "b": {"type": "integer", "default": 1}}, "required": ["a"]}
    theirs = {"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "c": {"type": "string"}}, "required": ["c"]}

    assert list(differences(fields(ours, {}), fields(theirs, {}), "an answer")) == [
        "`c` is missing here",
        "`b` is not in the document",
        "`a` may be ['null'] in an answer, and is read as ['string']",
        "`a` may be left out of an answer, and has to be there",
    ]
