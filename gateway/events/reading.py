"""What readers may ask for: from where, and whether with tokens."""

from dataclasses import dataclass

from gateway.errors import BadRequest
from gateway.events.journal import Position, parse_position

_YES = frozenset({"true", "1"})
_NO = frozenset({"false", "0", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """`after`: the last event that the reader has; None: it begins now."""

    after: Position | None
    tokens: bool


def parse_wish(*, last_event_id: str | None, after: str | None, tokens: str | None) -> Wish:
    """`last_event_id` is newer than `after`: browsers repeat the address, and add the header when they come back.

    Raises:
        BadRequest: names what cannot be read.
    """
    if (tokens or "").lower() not in _YES | _NO:
        raise BadRequest.field("tokens", "must be true or false")
    position = _position("Last-Event-ID", last_event_id) or _position("after", after)
    return Wish(after=position, tokens=(tokens or "").lower() in _YES)


def _position(name: str, text: str | None) -> Position | None:
    if not text:
        return None
    position = parse_position(text)
    if position is None:
        raise BadRequest.field(name, "must be the id of an event, such as 1735689600000-0, or 0 for all of the last hour")
    return position
