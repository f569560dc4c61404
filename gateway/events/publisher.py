import asyncio
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID, uuid4

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.events.journal import KEPT_SECONDS, ONCE_SECONDS, TOKEN, Entry, Journal, body_of
from gateway.events.schemas import DraftToken, EventType
from shared.background import BackgroundTask
from shared.errors import Unavailable

WAITING_EVENTS = 10_000
"""How many may wait for Redis; the oldest make way."""
# Few enough that a reader's gateway, which gets them all at once, has room for them.
_EVENTS_AT_ONCE = 128
_BYTES_AT_ONCE = 256 * 1024
_RETRY_SECONDS = 0.25
_CLOSE_SECONDS = 2.0
_CERTAIN_SECONDS = 5.0
_AWAY = (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError)
_AWAY_MESSAGE = "Live events are away; try again in a moment"

_Waiting: TypeAlias = tuple[Entry, asyncio.Future[None] | None]
"""With somebody who waits until it is in Redis, if anybody does."""
_logger = structlog.get_logger(__name__)


class PendingEvent(NamedTuple):
    """An event that goes out once the transaction that made it is committed."""

    type: EventType
    data: Any
    """Its documented body."""
    about: UUID | None = None
    """The conversation that it tells something of, whose events can be forgotten."""
    once: str = ""
    """Nothing that is published later under the same key, within a day and by whichever gateway, goes out again."""


class EventPublisher:
    """Tells an account's readers what happened, after it was committed.

    Events go out in the order in which they were given, in the background: whoever publishes does not wait, and does not fail because
    Redis is away. Then they wait for it; what happened is in the database either way.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting = asyncio.Queue[_Waiting]()
        self._task = BackgroundTask("event publisher", self._run)
        self._dropped = 0

    def start(self) -> None:
        self._task.start()

    async def sent(self) -> None:
        """Wait until nothing waits any more."""
        await self._waiting.join()

    async def close(self) -> None:
        """Send what waits, if that is possible within 2 s."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.sent()
        await self._task.close()

    def publish(self, account_id: UUID, *events: PendingEvent) -> None:
        """Publish events, in this order."""
        for event in events:
            self._put(_entry(account_id, event))

    async def deliver(self, account_id: UUID, event: PendingEvent) -> None:
        """Publish an event and wait until it is in Redis: for those who answer for it, such as the reader of a queue.

        Raises:
            Unavailable: Redis does not take it now. It may still go out later; with `once` it is safe to try again.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(_entry(account_id, event), done)
        try:
            async with asyncio.timeout(_CERTAIN_SECONDS):
                await done
        except TimeoutError:
            raise Unavailable(_AWAY_MESSAGE) from None

    def tokens_wanted(self, account_id: UUID) -> bool:
        return self._journal.tokens_wanted(account_id)

    def publish_token(self, account_id: UUID, token: DraftToken) -> None:
        """Tell a piece of a draft to those who listen now; it is not kept. Ask `tokens_wanted` first."""
        self._put(Entry("token", account_id, TOKEN, body_of(TOKEN, token).decode()))

    def forget(self, account_id: UUID, conversation_id: UUID) -> None:
        """Take back what was published about a conversation: nobody who comes back gets it any more."""
        self._put(Entry("forget", account_id, about=str(conversation_id)))

    def forget_account(self, account_id: UUID) -> None:
        self._put(Entry("forget", account_id))

    def _put(self, entry: Entry, done: asyncio.Future[None] | None = None) -> None:
        if self._waiting.qsize() >= WAITING_EVENTS:
            self._drop(self._waiting.get_nowait())
            self._waiting.task_done()
        self._waiting.put_nowait((entry, done))

    async def _run(self) -> None:
        while True:
            batch = await self._next_batch()
            try:
                await self._send(batch)
            finally:
                for _ in batch:
                    self._waiting.task_done()

    async def _next_batch(self) -> list[_Waiting]:
        """What has gathered while the batch before was sent."""
        batch = [await self._waiting.get()]
        size = len(batch[0][0].body)
        while len(batch) < _EVENTS_AT_ONCE and size < _BYTES_AT_ONCE and not self._waiting.empty():
            batch.append(self._waiting.get_nowait())
            size += len(batch[-1][0].body)
        return batch

    async def _send(self, batch: list[_Waiting]) -> None:
        """Publish a batch, however long Redis is away."""
        entries = [entry for entry, _ in batch]
        retried = False
        while True:
            try:
                await self._journal.publish(entries)
                break
            except _AWAY as error:
                if not retried:
                    _logger.warning("events wait: Redis is away", error=type(error).__name__)
                retried = True
                await asyncio.sleep(_RETRY_SECONDS)
            except RedisError as error:  # it is there and does not take them; its first word says why
                _logger.error("Redis refused events", reason=str(error).partition(" ")[0], count=len(batch))
                for waiting in batch:
                    self._drop(waiting)
                return
        for _, done in batch:
            if done is not None and not done.done():
                done.set_result(None)
        if retried:
            _logger.info("events go out again", dropped=self._dropped)

    def _drop(self, waiting: _Waiting) -> None:
        _, done = waiting
        self._dropped += 1
        if done is not None and not done.done():
            done.set_exception(Unavailable(_AWAY_MESSAGE))


def _entry(account_id: UUID, event: PendingEvent) -> Entry:
    """One without a key gets a key of its own: if Redis took it and its answer got lost, it is not published a second time."""
    return Entry(
        kind="event",
        account_id=account_id,
        type=event.type,
        body=body_of(event.type, event.data).decode(),
        about=str(event.about) if event.about else "",
        once=event.once or uuid4().hex,
        once_seconds=ONCE_SECONDS if event.once else KEPT_SECONDS,
    )
