"""Bodies decoded straight into the handler's type.

Left alone, Litestar decodes a body into dictionaries first and converts those leniently, so that `"3"` passes for a number and a batch of
messages costs twice the time.
"""

import asyncio
from functools import lru_cache
from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.exceptions import ClientException

from gateway.http.lone_surrogates import place_of_lone_surrogate
from shared.errors import BadRequest

_LARGEST_DECODED_TWICE = 64 * 1024
"""Bytes of a body that is decoded once more where it has 1.0 for 1. A large one would take seconds, and many times its memory."""


class StrictRequest(Request[Any, Any, State]):
    """A request whose JSON body has exactly the handler's types, or is refused with the field's name."""

    async def body(self) -> bytes:
        body = await super().body()
        field = self.route_handler.parsed_fn_signature.parameters.get("data")
        if not body and field is not None and not field.has_default:
            raise ClientException("Send a JSON body")
        return body

    async def json(self) -> Any:
        field = self.route_handler.parsed_fn_signature.parameters.get("data")
        if field is None:
            return await super().json()
        body = await self.body()
        try:
            return _decode(body, field.annotation)
        except msgspec.ValidationError as error:  # its message ends with where the fault is, which the error renderer turns into `details`
            raise ClientException(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if (place := await asyncio.to_thread(place_of_lone_surrogate, body)) is not None:
                raise BadRequest.field(place or "body", "must not contain half a character (a lone surrogate)") from None
            if isinstance(error, msgspec.DecodeError):
                raise ClientException(str(error)) from None
            raise ClientException("The body is not JSON in UTF-8") from None


def _decode(body: bytes, body_type: Any) -> Any:
    try:
        return _decoder(body_type).decode(body)
    except msgspec.ValidationError as error:
        if "got `float`" not in str(error) or len(body) > _LARGEST_DECODED_TWICE:
            raise
        # To JSON Schema 1.0 is an integer (its section 6.1.1), and some clients know no other numbers; to msgspec it is a float.
        return msgspec.convert(_with_whole_numbers(msgspec.json.decode(body)), body_type)


def _with_whole_numbers(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_with_whole_numbers(item) for item in value]
        case dict():
            return {key: _with_whole_numbers(item) for key, item in value.items()}
        case _:
            return value


@lru_cache(maxsize=256)
def _decoder(body_type: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(body_type)
