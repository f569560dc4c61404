"""What can go wrong, as exceptions.

AssistantError
├── NotPaired          there is no token for this gateway
├── StoreError         the token cannot be kept, or not be read
├── Unreachable        no answer: nobody listens, or the connection broke
├── UnexpectedAnswer   an answer that is none of the API's
└── Refused            an answer that says no; `status` and the other fields of the API's error body
    ├── BadRequest     400, 413, 415, 422: `details` name the fields
    ├── Unauthorized   401
    ├── Forbidden      403: the device was deactivated, or this is closed
    ├── NotFound       404
    ├── Conflict       409
    ├── TooManyRequests  429
    └── Unavailable    502, 503, 504: the same will work later
"""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import msgspec
from msgspec import Struct


class FieldProblem(Struct, frozen=True, kw_only=True):
    """What is wrong with one field of a body, such as `messages[3].sentAt`."""

    field: str
    message: str


class ErrorBody(Struct, frozen=True, kw_only=True, rename="camel"):
    """The one error body of the API."""

    status_code: int
    message: str
    error: str
    request_id: str | None = None
    details: list[FieldProblem] = []


class AssistantError(Exception):
    """Base of all that this library raises. The message is for people and has no text of messages in it."""


class NotPaired(AssistantError):
    """There is no token for this gateway, or it is good for nothing any more: pair the device."""


class StoreError(AssistantError):
    """The token could not be kept or read; the message names the place."""


class UnexpectedAnswer(AssistantError):
    """Something answered that is not the API as this version knows it."""


class Unreachable(AssistantError):
    """There was no answer, or no whole one.

    `maybe_done`: the request had gone out, so the gateway may have done what it asks for. `timed_out`: it just took too long.
    """

    def __init__(self, message: str, *, maybe_done: bool, timed_out: bool = False) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done
        self.timed_out = timed_out


class Refused(AssistantError):
    """The gateway said no. `retry_after` is in seconds; `request_id` finds the request in the gateway's log."""

    def __init__(self, body: ErrorBody, retry_after: float | None = None) -> None:
        super().__init__(body.message)
        self.status = body.status_code
        self.message = body.message
        self.details = body.details
        self.request_id = body.request_id
        self.retry_after = retry_after


class BadRequest(Refused):
    """Something is wrong with what was sent."""


class Unauthorized(Refused):
    """The token, the code or the refresh token is not good."""


class Forbidden(Refused):
    """The device was deactivated, or the operator has closed this."""


class NotFound(Refused):
    """There is nothing with this id in the account."""


class Conflict(Refused):
    """It does not go together with how things are now."""


class TooManyRequests(Refused):
    """The account or the address has as much as it may."""


class Unavailable(Refused):
    """Something that the gateway needs is away or full."""


_BY_STATUS: dict[int, type[Refused]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: BadRequest,
    415: BadRequest,
    422: BadRequest,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def refusal(body: ErrorBody, retry_after: float | None = None) -> Refused:
    """The exception for an error body."""
    return _BY_STATUS.get(body.status_code, Refused)(body, retry_after)


def refusal_of(response: httpx.Response) -> Refused:
    """The exception for an answer that is an error; also for one that a proxy gave in a form of its own."""
    try:
        body = msgspec.json.decode(response.content, type=ErrorBody)
    except msgspec.MsgspecError:
        phrase = response.reason_phrase or "Error"
        message = f"{phrase} ({response.status_code}), and no error of the Conversation Assistant: look at the address and at proxies"
        body = ErrorBody(status_code=response.status_code, message=message, error=phrase)
    return refusal(body, retry_after_of(response))


def retry_after_of(response: httpx.Response) -> float | None:
    """After how many seconds the same will work, if the answer says that. The other form of the header, a date, is not used here."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn httpx's errors into this library's: the one place that does."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise Unreachable(f"Nobody answers at {url}", maybe_done=False) from error
    except httpx.TimeoutException as error:
        raise Unreachable(f"{url} did not answer in time", maybe_done=True, timed_out=True) from error
    except httpx.UnsupportedProtocol as error:
        raise UnexpectedAnswer(f"{url} is no address of a gateway: it begins with http:// or https://") from error
    except httpx.TransportError as error:
        raise Unreachable(f"The connection to {url} broke", maybe_done=True) from error
    except httpx.HTTPError as error:
        raise UnexpectedAnswer(f"{url} answers in a way that cannot be read") from error
