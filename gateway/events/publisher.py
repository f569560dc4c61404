import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID, uuid4

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.errors import Unavailable
from gateway.events.journal import ACCOUNT_DELETED, TOKEN, Entry, Journal, body_of
from gateway.events.schemas import DraftToken, EventType
from gateway.events.token_listeners import TokenListeners
from shared.background import BackgroundTask

WAITING_EVENTS = 10_000
"""How many may wait for Redis; the oldest make way."""
# Few enough that a reader's gateway, which gets them all at once, has room for them.
_EVENTS_AT_ONCE = 128
_BYTES_AT_ONCE = 256 * 1024
# The least time between two calls to Redis, unless something is urgent: a call costs as much as a dozen events.
_GATHER_SECONDS = 0.005
_RETRY_SECONDS = 0.25
_CLOSE_SECONDS = 2.0
_CERTAIN_SECONDS = 5.0
_AWAY = (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError)

_Waiting: TypeAlias = tuple[Entry, asyncio.Future[bool] | None]
"""With somebody who waits for the result, if anybody does."""
_logger = structlog.get_logger(__name__)


class PendingEvent(NamedTuple):
    """An event that goes out once the transaction that made it is committed; `about` is the conversation that it tells something of, and
    `once` the key under which it is published only once."""

    type: EventType
    data: Any
    about: UUID | None = None
    once: str = ""


class EventPublisher:
    """Tells an account's readers what happened, after it was committed.

    Events go out in the order in which they were given, in the background: whoever publishes does not wait, and does not fail because
    Redis is away. Then they wait for it; what happened is in the database either way.
    """

    def __init__(self, journal: Journal, tokens: TokenListeners) -> None:
        self._journal = journal
        self._tokens = tokens
        self._waiting: deque[_Waiting] = deque()
        self._awake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._sent_at = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self._task = BackgroundTask("event publisher", self._run)
        self._name = uuid4().hex[:12]
        self._count = 0
        self._dropped = 0

    def start(self) -> None:
        self._task.start()

    async def close(self) -> None:
        """Send what waits, if that is possible within 2 s."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._idle.wait()
        await self._task.close()

    def publish(self, account_id: UUID, event_type: EventType, data: Any, *, once: str = "", about: UUID | None = None) -> None:
        """Publish an event.

        Args:
            data: its documented body.
            once: nothing that is published later under the same key, within a day and by whichever gateway, goes out again.
            about: the conversation that it tells something of, whose events can be taken back.
        """
        self._put(self._entry(account_id, event_type, data, once, about))

    def publish_all(self, account_id: UUID, events: Iterable[PendingEvent]) -> None:
        """Publish events, in this order."""
        for event in events:
            self.publish(account_id, event.type, event.data, once=event.once, about=event.about)

    async def deliver(self, account_id: UUID, event_type: EventType, data: Any, *, once: str = "", about: UUID | None = None) -> bool:
        """Publish an event and wait until it is in Redis: for those who answer for it, such as the reader of a queue.

        Returns:
            False if something was published under its `once` key before.

        Raises:
            Unavailable: Redis does not take it now. It may still go out later; with `once` it is safe to try again.
        """
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._put(self._entry(account_id, event_type, data, once, about), done)
        self._urgent.set()
        try:
            async with asyncio.timeout(_CERTAIN_SECONDS):
                return await done
        except TimeoutError:
            raise Unavailable("Live events are away; try again in a moment") from None

    def tokens_wanted(self, account_id: UUID) -> bool:
        """Whether anybody listens for the tokens of this account's drafts."""
        return self._tokens.wanted(account_id)

    def publish_token(self, account_id: UUID, token: DraftToken) -> None:
        """Tell a piece of a draft to those who listen now; it is not kept. Ask `tokens_wanted` first."""
        self._put(Entry("token", account_id, TOKEN, body_of(TOKEN, token).decode()))
        self._urgent.set()

    def forget(self, account_id: UUID, conversation_id: UUID) -> None:
        """Take back what was published about a conversation: nobody who comes back gets it any more."""
        self._put(Entry("forget", account_id, about=str(conversation_id)))
        self._urgent.set()

    def forget_account(self, account_id: UUID) -> None:
        """Forget all of an account's events, and end its readers' streams."""
        self._put(Entry("forget", account_id, ACCOUNT_DELETED))
        self._urgent.set()

    def _entry(self, account_id: UUID, event_type: EventType, data: Any, once: str, about: UUID | None) -> Entry:
        self._count += 1
        nonce = f"{self._name}-{self._count}"
        return Entry("event", account_id, event_type, body_of(event_type, data).decode(), nonce, once, str(about) if about else "")

    def _put(self, entry: Entry, done: asyncio.Future[bool] | None = None) -> None:
        if len(self._waiting) >= WAITING_EVENTS:
            self._drop(*self._waiting.popleft())
        self._waiting.append((entry, done))
        self._idle.clear()
        self._awake.set()

    async def _run(self) -> None:
        while True:
            await self._awake.wait()
            while self._waiting:
                await self._gather()
                await self._send(self._next_batch())
            self._awake.clear()
            self._idle.set()

    async def _gather(self) -> None:
        """Let some more events come, if the last were sent only just now and none of these is urgent."""
        clock = asyncio.get_running_loop().time
        if clock() < self._sent_at + _GATHER_SECONDS:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._sent_at + _GATHER_SECONDS):
                    await self._urgent.wait()
        self._urgent.clear()
        self._sent_at = clock()

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < _EVENTS_AT_ONCE and size < _BYTES_AT_ONCE:
            batch.append(self._waiting.popleft())
            size += len(batch[-1][0].body)
        return batch

    async def _send(self, batch: list[_Waiting]) -> None:
        """Publish a batch, however long Redis is away."""
        entries = [entry for entry, _ in batch]
        retried = False
        while True:
            try:
                results = await self._journal.publish(entries, retried=retried)
                break
            except _AWAY as error:
                if not retried:
                    _logger.warning("events wait: Redis is away", error=type(error).__name__)
                retried = True
                await asyncio.sleep(_RETRY_SECONDS)
            except RedisError as error:  # it is there and does not take them; its first word says why
                _logger.error("Redis refused events", reason=str(error).partition(" ")[0], count=len(batch))
                self._drop_all(batch)
                return
            except Exception:
                self._drop_all(batch)
                raise
        for (_, done), result in zip(batch, results, strict=True):
            if done is not None and not done.done():
                done.set_result(result)
        if retried:
            _logger.info("events go out again", dropped=self._dropped)

    def _drop_all(self, batch: Iterable[_Waiting]) -> None:
        for waiting in batch:
            self._drop(*waiting)

    def _drop(self, _: Entry, done: asyncio.Future[bool] | None) -> None:
        self._dropped += 1
        if done is not None and not done.done():
            done.set_exception(Unavailable("Live events are away; try again in a moment"))
