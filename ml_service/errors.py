"""The one place that turns errors into answers: the documented body, and nothing that a client should not see."""

from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from shared.asgi import current_request_id
from shared.errors import AppError, BadRequest, FieldProblem, error_body, error_headers


def body_of(error: AppError) -> bytes:
    """An error's body as JSON."""
    return msgspec.json.encode(error_body(error.status, error.message, current_request_id(), error.details))


def install(app: FastAPI) -> None:
    """Render every error that reaches the app."""
    app.add_exception_handler(AppError, _render_app_error)
    app.add_exception_handler(RequestValidationError, _render_validation_error)
    app.add_exception_handler(HTTPException, _render_http_error)


def _response(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def _render_app_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)
    return _response(error.status, body_of(error), error_headers(error))


def _render_http_error(request: Request, error: Exception) -> Response:
    """Unknown routes, wrong methods and bodies that the framework itself refuses."""
    assert isinstance(error, HTTPException)
    messages = {
        HTTPStatus.NOT_FOUND: "There is nothing at this address",
        HTTPStatus.METHOD_NOT_ALLOWED: "This address does not know this method",
        HTTPStatus.BAD_REQUEST: "The body is not valid JSON in UTF-8",
    }
    status = HTTPStatus(error.status_code)
    message = messages.get(status, status.phrase)
    headers = {"Allow": _methods_of(request)} if status == HTTPStatus.METHOD_NOT_ALLOWED else dict(error.headers or {})
    return _response(status, msgspec.json.encode(error_body(status, message, current_request_id())), headers)


def _methods_of(request: Request) -> str:
    """What an address can be asked; the framework itself names the methods of one handler only."""
    fitting = [route for route in request.app.routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in fitting for method in route.methods or ()}))


def _render_validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [_problem(problem) for problem in error.errors()[:20]]
    first = problems[0]
    return _render_app_error(_request, BadRequest(f"{first.field}: {first.message}", details=problems))


def _field_name(location: tuple[str | int, ...]) -> str:
    """`("body", "messages", 3, "content")` is `messages[3].content`; a whole body is `body`."""
    name = ""
    for part in location[1:]:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    return name or str(location[0])


def _problem(problem: dict[str, Any]) -> FieldProblem:
    if problem["type"] == "json_invalid":  # its location is a position in the text
        return FieldProblem(field="body", message="is not valid JSON")
    return FieldProblem(field=_field_name(problem["loc"]), message=str(problem["msg"]))
