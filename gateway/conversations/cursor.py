"""A place in a thread as an opaque word: after which message the next page begins."""

import binascii
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from shared.errors import BadRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAYOUT = struct.Struct(">q16s")  # microseconds since 1970, message id


class Place(NamedTuple):
    """Where a message stands in its thread; places compare as messages are ordered."""

    sent_at: datetime
    id: UUID


def encode(place: Place) -> str:
    microseconds = (place.sent_at - _EPOCH) // timedelta(microseconds=1)
    return urlsafe_b64encode(_LAYOUT.pack(microseconds, place.id.bytes)).decode()


def decode(cursor: str) -> Place:
    """The place that a cursor names.

    Raises:
        BadRequest: it is none of ours.
    """
    try:
        microseconds, message_id = _LAYOUT.unpack(urlsafe_b64decode(cursor.encode("ascii")))
        return Place(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=message_id))
    except (binascii.Error, struct.error, ValueError, OverflowError):
        raise BadRequest.field("before", "is not a cursor; take nextCursor of the page before") from None
