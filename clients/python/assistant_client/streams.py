"""What both clients make of server-sent events: the pieces of a draft, and events with their place in the stream."""

import msgspec

from assistant_client import calls
from assistant_client.endpoints import Call
from assistant_client.errors import AssistantError, ErrorBody, UnexpectedAnswer, Unreachable, refusal
from assistant_client.exchange import Retries, Wait
from assistant_client.models import Draft, DraftToken, Event
from assistant_client.sse import ServerSentEvent

_INCOMPLETE = "replay:incomplete"
_CLOSED = "stream:closed"
_PAUSES = Retries()


def draft_part(sent: ServerSentEvent) -> DraftToken | Draft:
    """A piece of a draft, or the draft itself, which is last.

    Raises:
        Refused: the draft failed.
    """
    try:
        match sent.name:
            case "token":
                return msgspec.json.decode(sent.data, type=DraftToken)
            case "completed" | "cancelled":
                return msgspec.json.decode(sent.data, type=Draft)
            case "failed":
                raise refusal(msgspec.json.decode(sent.data, type=ErrorBody))
    except msgspec.MsgspecError as error:
        raise UnexpectedAnswer(f"A piece of a draft is not what this version expects ({error}): update this library") from error
    raise UnexpectedAnswer(f"A draft's stream has an event that this version does not know ({sent.name}): update this library")


def broken_off() -> Unreachable:
    """For a draft whose stream ended without an end."""
    return Unreachable("The draft was broken off: ask for it again", maybe_done=True)


class Place:
    """Where a reader of events is, over all of its connections."""

    def __init__(self, after: str | None, *, tokens: bool) -> None:
        self._after = after
        self._tokens = tokens
        self._breaks = 0

    def call(self) -> Call[None]:
        """What to ask for now."""
        return calls.events(self._after, tokens=self._tokens)

    def pause(self, error: AssistantError | None = None) -> Wait:
        """Before the next connection: longer each time in which nothing came. `error` is what the last one ended with."""
        self._breaks += 1
        return Wait(seconds=_PAUSES.wait(min(self._breaks, _PAUSES.attempts)), because=error)

    def take(self, sent: ServerSentEvent) -> Event | None:
        """The event, if it is one for the reader and was not read before.

        A token has no id of its own: it cannot be asked for again. `replay:incomplete` has none that counts.
        """
        self._breaks = 0
        if sent.name == _CLOSED:  # the next connection says why
            return None
        if sent.id and sent.name != _INCOMPLETE:
            if self._after is not None and _order(sent.id) <= _order(self._after):
                return None
            self._after = sent.id
        if not sent.data:
            return None
        try:
            return msgspec.json.decode(sent.data, type=Event)
        except msgspec.MsgspecError as error:
            raise UnexpectedAnswer(f"An event is not what this version expects ({error}): update this library") from error


def _order(event_id: str) -> tuple[int, ...]:
    """Ids grow: `<milliseconds>-<number>`, or the milliseconds alone."""
    try:
        return tuple(int(part) for part in event_id.split("-"))
    except ValueError as error:
        raise UnexpectedAnswer(f"{event_id} is no id of an event") from error
