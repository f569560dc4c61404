"""The error tree of both services and the body that clients see.

Every error a client may see is an `AppError` with its status; each service renders them in one place.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """What is wrong with one field of a body, such as `messages[3].sentAt`."""

    field: str
    message: str


class AppError(Exception):
    """An error with a documented status and a message that says what to do next.

    The message is shown to clients: no SQL, paths, secrets or message text in it.
    """

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, message: str, *, details: list[FieldProblem] | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or []
        self.retry_after = retry_after
        """Seconds after which a retry makes sense; sent as `Retry-After`."""


class BadRequest(AppError):
    status = HTTPStatus.BAD_REQUEST

    @classmethod
    def field(cls, field: str, message: str) -> "BadRequest":
        """A refusal of one field, named in `details`."""
        return cls(f"{field}: {message}", details=[FieldProblem(field=field, message=message)])


class Unauthorized(AppError):
    status = HTTPStatus.UNAUTHORIZED


class Forbidden(AppError):
    status = HTTPStatus.FORBIDDEN


class NotFound(AppError):
    status = HTTPStatus.NOT_FOUND


class RequestTimeout(AppError):
    """The client did not send in time what it began."""

    status = HTTPStatus.REQUEST_TIMEOUT


class Conflict(AppError):
    status = HTTPStatus.CONFLICT


class PayloadTooLarge(AppError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMediaType(AppError):
    """The body is of a kind that is not taken; RFC 9110 section 15.5.16."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class Misdirected(AppError):
    """The request is for another host than this one; RFC 9110 section 15.5.20."""

    status = HTTPStatus.MISDIRECTED_REQUEST


class UnprocessableEntity(AppError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class TooManyRequests(AppError):
    status = HTTPStatus.TOO_MANY_REQUESTS


class Unavailable(AppError):
    """Something this service needs is away; a retry will help."""

    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, message: str, *, retry_after: int = 2) -> None:
        super().__init__(message, retry_after=retry_after)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """The one error body of both services (camelCase on the wire, as documented)."""

    statusCode: int  # noqa: N815
    message: str
    error: str
    requestId: str | None = None  # noqa: N815
    details: list[FieldProblem] | None = None


def error_body(status: int, message: str, request_id: str | None, details: list[FieldProblem] | None = None) -> dict[str, Any]:
    """Render the documented body; `requestId` and `details` are left out when there are none."""
    body: dict[str, Any] = {"statusCode": int(status), "message": message, "error": HTTPStatus(status).phrase}
    if request_id is not None:
        body["requestId"] = request_id
    if details:
        body["details"] = [{"field": problem.field, "message": problem.message} for problem in details]
    return body


def error_headers(error: AppError) -> dict[str, str]:
    """The headers that belong to an error."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RequestTimeout):
        headers["Connection"] = "close"  # what comes late is no next request
    return headers
