"""The one place that turns exceptions into the documented error body."""

from http import HTTPStatus
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from gateway.wire import camel
from shared.asgi import CLIENT_CLOSED_REQUEST, ClientGone, current_request_id, unexpected
from shared.errors import AppError, FieldProblem, error_body, error_headers

_logger = structlog.get_logger(__name__)


def _respond(status: int, message: str, details: list[FieldProblem] | None = None, headers: dict[str, str] | None = None) -> Response[Any]:
    body = error_body(status, message, current_request_id(), details)
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def _render_app_error(_: Request[Any, Any, Any], error: AppError) -> Response[Any]:
    return _respond(error.status, error.message, error.details, error_headers(error))


def _render_validation_error(_: Request[Any, Any, Any], error: ValidationException) -> Response[Any]:
    """Bad parameters and bodies: 400 with each offending field in `details`."""
    problems = [_problem(entry) for entry in error.extra or []] if isinstance(error.extra, list) else []
    if not problems:
        return _respond(400, _split(error.detail)[0])
    message = "; ".join(f"{problem.field}: {problem.message}" if problem.field else problem.message for problem in problems)
    return _respond(400, message, [problem for problem in problems if problem.field])


def _problem(entry: Any) -> FieldProblem:
    if not isinstance(entry, dict):
        return FieldProblem(field="", message=str(entry))
    what, inner = _split(str(entry.get("message", "")))
    key = str(entry.get("key", ""))
    if entry.get("source") == "body" or key.startswith("data"):
        return FieldProblem(field=inner or key.removeprefix("data").lstrip("."), message=what)
    return FieldProblem(field=camel(key), message=what)


def _split(message: str) -> tuple[str, str]:
    """What msgspec says, and the path with which it ends: "Expected `str`, got `int` - at `$.messages[3].sentAt`"."""
    what, separator, place = message.rpartition(" - at `")
    if not separator:
        return message, ""
    return what, place.removesuffix("`").removeprefix("key in ").removeprefix("$").removeprefix(".")


def _render_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """What the framework itself refuses: unknown routes, wrong methods, bodies that are no JSON."""
    status = error.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _render_unexpected(request, error)
    headers = {key: value for key, value in (error.headers or {}).items() if key.lower() in {"allow", "retry-after"}}
    message, details = _explain(status, error.detail)
    return _respond(status, message, details, headers)


def _explain(status: int, detail: str) -> tuple[str, list[FieldProblem]]:
    match status:
        case HTTPStatus.BAD_REQUEST:
            what, path = _split(detail)
            return (f"{path}: {what}", [FieldProblem(field=path, message=what)]) if path else (what, [])
        case HTTPStatus.NOT_FOUND:
            return "There is nothing at this address", []
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return "This address does not take this method; see the Allow header", []
        case _:
            return detail, []


def _render_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """A fault of ours. The log gets the trace; the client gets the request id to report."""
    _logger.error("request failed", exc_info=error, path=request.scope["path"])
    return _respond(500, unexpected().message)


def _render_client_gone(_: Request[Any, Any, Any], __: ClientGone) -> Response[bytes]:
    """For the log and the metrics."""
    return Response(b"", status_code=CLIENT_CLOSED_REQUEST)


EXCEPTION_HANDLERS: dict[Any, Any] = {
    ClientGone: _render_client_gone,
    AppError: _render_app_error,
    ValidationException: _render_validation_error,
    HTTPException: _render_http_exception,
    Exception: _render_unexpected,
}
