import asyncio
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from gateway.auth.tokens import VerifiedToken
from gateway.events.journal import BEGINNING, TOKEN, Journal, Position, PublishedEvent, body_of
from gateway.events.schemas import Nothing
from shared.errors import Forbidden, Unauthorized, Unavailable

WAITING_EVENTS = 1_000
WAITING_BYTES = 1024 * 1024
"""What may wait for one reader; more makes it a slow one."""
INCOMPLETE = "replay:incomplete"
_PAGE = 100
_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a reader gets no more events: a WebSocket close code (RFC 6455 section 7.4, from 4000 our own) and a sentence."""

    code: int
    reason: str


STOPPING = Ending(1001, "The gateway is stopping; connect again")
TOKEN_VOID = Ending(4401, "The token has expired or is void; get a new one and connect again")
DEACTIVATED = Ending(4403, "This device is not active; pair it again")
SLOW = Ending(4408, "Events were not read fast enough; connect again and name the last event that you have")


def ending_of(refusal: Unauthorized | Forbidden) -> Ending:
    """How a stream ends whose token would be refused now."""
    return DEACTIVATED if isinstance(refusal, Forbidden) else TOKEN_VOID


class Frame(NamedTuple):
    """One event on its way out. `position` is None where none belongs to it: a token cannot be asked for again."""

    position: Position | None
    type: str
    envelope: bytes


class Subscription:
    """What one reader is still to get.

    It is either behind, and reads the account's stream page by page as fast as its reader takes it; or up to date, and gets what the hub
    offers. What waits is bounded: a reader that is up to date and does not keep up is dropped, one that is behind just stays behind.
    """

    def __init__(self, token: VerifiedToken, journal: Journal, *, wants_tokens: bool) -> None:
        self.token = token
        self.wants_tokens = wants_tokens
        self.ending: Ending | None = None
        self._journal = journal
        self.position = BEGINNING
        """Of the last event that the reader was given."""
        self.beginning: Position | None = None
        """Where a reader begins who named no event."""
        self._waiting: deque[PublishedEvent] = deque()
        self._waiting_bytes = 0
        self._behind = False
        self._missed = False
        self._first: list[Frame] = []
        self._awake = asyncio.Event()

    async def begin(self, after: Position | None) -> None:
        """Start after an event that the reader names, or now. The hub offers events already, and none gets lost between.

        Raises:
            Unavailable: Redis is away.
        """
        account_id = self.token.principal.account_id
        self._behind = self._missed = False  # whatever was missed before: where to begin is only being asked now
        if after is None:
            self.position = self.beginning = await self._journal.newest(account_id)
        elif after == BEGINNING or await self._journal.has(account_id, after):
            self.position = after
            self.fall_behind()
        else:
            notice = PublishedEvent(BEGINNING, INCOMPLETE, body_of(INCOMPLETE, Nothing()))
            self._first.append(Frame(BEGINNING, INCOMPLETE, notice.envelope(BEGINNING)))
            self.fall_behind()

    def offer(self, event: PublishedEvent) -> None:
        """Take an event that was just published, if this reader is to have it."""
        if self.ending is not None or (event.type == TOKEN and not self.wants_tokens):
            return
        self._waiting_bytes += len(event.body)
        if len(self._waiting) >= WAITING_EVENTS or self._waiting_bytes > WAITING_BYTES:
            self._let_go()
            if self._behind:
                self._missed = True
            else:
                self.end(SLOW)
            return
        self._waiting.append(event)
        self._awake.set()

    def fall_behind(self) -> None:
        """Something may have been missed: read the stream, from the last event that the reader has."""
        self._behind = self._missed = True
        self._awake.set()

    def end(self, ending: Ending) -> None:
        """No more events, but for those that wait already."""
        if self.ending is None:
            self.ending = ending
            self._awake.set()

    async def next(self, patience: float | None = None) -> list[Frame] | None:
        """What comes next, in order: at least one event; none after `patience` seconds in which nothing came; None when it has ended."""
        try:
            async with asyncio.timeout(patience):
                return await self._next()
        except TimeoutError:
            return []

    async def _next(self) -> list[Frame] | None:
        while True:
            if self._behind and self.ending is not None:
                return None  # what waits came after what was missed
            if frames := await self._catch_up() if self._behind else self._drain():
                return frames
            if self._behind or self._waiting:
                continue
            if self.ending is not None:
                return None
            self._awake.clear()
            await self._awake.wait()

    async def _catch_up(self) -> list[Frame]:
        if self._first:
            frames, self._first = self._first, []
            return frames
        self._missed = False
        try:
            events = await self._journal.after(self.token.principal.account_id, self.position, _PAGE)
        except Unavailable:
            await asyncio.sleep(_RETRY_SECONDS)
            return []
        self._behind = self._missed or len(events) == _PAGE
        return self._frames(events)

    def _drain(self) -> list[Frame]:
        events = list(self._waiting)
        self._let_go()
        return self._frames(events)

    def _let_go(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    def _frames(self, events: list[PublishedEvent]) -> list[Frame]:
        frames = []
        for event in events:
            if event.position is not None:
                if event.position <= self.position:  # read from the stream already
                    continue
                self.position = event.position
            frames.append(Frame(event.position, event.type, event.envelope(self.position)))
        return frames
