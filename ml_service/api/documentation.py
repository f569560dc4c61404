"""What OpenAPI says beyond what the handlers' types say by themselves."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from ml_service.middleware import OPEN_PATHS
from shared.contracts.generation import GenerateRequest
from shared.contracts.jobs import AsyncGenerateRequest
from shared.errors import ErrorBody

MEANINGS = {
    400: "A field is missing, of the wrong type or out of range; `details` names it.",
    401: "The service token is missing or wrong.",
    404: "There is nothing with this id or name.",
    409: "It is being done already, it is over, or what it needs cannot be used now: an adapter of another base model.",
    413: "The body is larger than 4 MiB; the samples of a training may have 32.",
    415: "The body is not sent as `application/json`.",
    503: "The engine or Redis is away, or the queue is full; `Retry-After` says when to try again.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documented error answers of an endpoint. One that takes a body, and may refuse it for its size (413), may for its kind, too."""
    all_of_them = (*statuses, 415) if 413 in statuses else statuses
    return {status: {"model": ErrorBody, "description": MEANINGS[status]} for status in all_of_them}


def document(app: FastAPI, *, token_needed: bool) -> None:
    """Make the app's OpenAPI say what is true of every endpoint: the token, and one body for all errors."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _schema(app, token_needed=token_needed)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _schema(app: FastAPI, *, token_needed: bool) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = schema["components"]
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # validation is 400 here
            if token_needed and path not in OPEN_PATHS:
                operation["security"] = [{"serviceToken": []}]
                operation["responses"]["401"] = _error_response(401)
    if token_needed:
        components["securitySchemes"] = {"serviceToken": {"type": "http", "scheme": "bearer"}}
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    for body in (GenerateRequest, AsyncGenerateRequest):
        request = components["schemas"][body.__name__]
        # The framework passes limits through floats, and the largest seed is no float.
        request["properties"] = TypeAdapter(body).json_schema(ref_template="#/components/schemas/{model}")["properties"]
        _say_exactly_one(request, "prompt", "messages")
    _say_exactly_one(components["schemas"]["TrainingSample"], "input", "messages")
    return schema


def _error_response(status: int) -> dict[str, Any]:
    return {"description": MEANINGS[status], "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}}


def _say_exactly_one(body: dict[str, Any], first: str, second: str) -> None:
    """Exactly one of two fields; Python's types cannot say so."""
    given: dict[str, Any] = {}
    for name in (first, second):
        (given[name],) = (variant for variant in body["properties"][name]["anyOf"] if variant.get("type") != "null")
    absent = {"type": "null"}
    others = [name for name in body.get("required", []) if name not in given]
    body["oneOf"] = [
        {"required": [*others, first], "properties": {first: given[first], second: absent}},
        {"required": [*others, second], "properties": {second: given[second], first: absent}},
    ]
