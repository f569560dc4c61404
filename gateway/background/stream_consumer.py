"""Reads a stream of the ML service's events, together with all other gateways."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from shared.background import BackgroundTask
from shared.errors import Unavailable
from shared.redis_events import EVENT_FIELD, JOB_EVENTS_GROUP

_AT_ONCE = 200
_WAIT_MILLISECONDS = 500
_LEFT_BEHIND_MILLISECONDS = 5_000
"""An entry that somebody has had for so long is taken over: who has it is dead, or has long been trying in vain."""
_TAKE_OVER_SECONDS = 2.0
_NAME = "gateway"
"""All gateways read under one name: what is left behind is known by its age, whoever had it."""
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_CLOSE_SECONDS = 3.0

E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)
_logger = structlog.get_logger(__name__)


class TakesEvents(Protocol[E_contra]):
    """Who does something with the events."""

    async def take(self, told: Sequence[E_contra]) -> None:
        """Take events in. Each may come again, here or at another gateway: the second time it must change nothing.

        Raises:
            Unavailable: not now. They are given again, in a moment.
        """
        ...

    def may_be_lost(self, event: E_contra) -> bool:
        """Whether an event is worth nothing later: it is not given again after `take` could not do it."""
        ...


class StreamConsumer(Generic[E]):
    """One task that takes entries of a stream, gives them to `taker` and takes them off the stream when that is done.

    An entry that was read and not acknowledged, because this process died or PostgreSQL or Redis went away, comes again: here or at another
    gateway. What has been taken in is deleted from the stream: it has people's text in it, and nobody else reads it.
    """

    def __init__(self, redis: "Redis", stream: str, event_type: type[E], taker: TakesEvents[E]) -> None:
        """`stream` is the key, `event_type` what its entries hold."""
        self._redis = redis
        self._stream = stream
        self._decode = msgspec.json.Decoder(event_type).decode
        self._taker = taker
        self._task = BackgroundTask(stream, self._run)
        self._stopping = False
        self._interrupted = False
        self._take_over_at = 0.0

    def start(self) -> None:
        self._task.start()

    async def close(self) -> None:
        """Finish what was read; gives up on that after 3 s, and then another gateway does it."""
        self._stopping = True
        await self._task.finished(_CLOSE_SECONDS)
        await self._task.close()

    async def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopping:
            try:
                await self._make_group()
                while not self._stopping:
                    await self._read()
                    self._notice(None)
                    pause = _FIRST_PAUSE_SECONDS
            except (RedisError, OSError, TimeoutError) as error:  # it is away, or has lost the group with all else
                self._notice(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _read(self) -> None:
        """Wait a moment for entries and take them in; now and then also those that others left behind."""
        if time.monotonic() >= self._take_over_at:
            self._take_over_at = time.monotonic() + _TAKE_OVER_SECONDS
            await self._take_over()
        answer = await self._redis.xreadgroup(JOB_EVENTS_GROUP, _NAME, {self._stream: ">"}, count=_AT_ONCE, block=_WAIT_MILLISECONDS)
        for _, entries in answer:
            await self._take(entries)

    async def _take_over(self) -> None:
        cursor: Any = "0-0"
        while not self._stopping:
            cursor, entries, *_ = await self._redis.xautoclaim(
                self._stream, JOB_EVENTS_GROUP, _NAME, _LEFT_BEHIND_MILLISECONDS, cursor, count=_AT_ONCE
            )
            if entries:
                _logger.info("events taken over", stream=self._stream, count=len(entries))
                await self._take(entries)
            if cursor == b"0-0":
                return

    async def _take(self, entries: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> None:
        """Take entries in, however long that takes, and take them off the stream."""
        if await self._insist([event for event in map(self._readable, entries) if event is not None]):
            ids = [entry_id for entry_id, _ in entries]
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.xack(self._stream, JOB_EVENTS_GROUP, *ids)
                pipeline.xdel(self._stream, *ids)
                await pipeline.execute()

    async def _insist(self, events: Sequence[E]) -> bool:
        """Take events in; False if this gateway stops before it could."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._taker.take(events)
                return True
            except Unavailable as error:
                _logger.warning("events wait", stream=self._stream, count=len(events), reason=error.message)
            except Exception as error:
                # One of them cannot be stored. It must not keep the others: each goes alone, and this one is given up.
                _logger.error("events cannot be taken in", stream=self._stream, count=len(events), exc_info=error)
                return len(events) == 1 or all([await self._insist([event]) for event in events])
            if self._stopping:
                return False
            events = [event for event in events if not self._taker.may_be_lost(event)]
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _readable(self, entry: tuple[bytes, dict[bytes, bytes]]) -> E | None:
        """None for what nobody could ever read; it is logged and then gone."""
        entry_id, fields = entry
        try:
            return self._decode(fields[EVENT_FIELD.encode()])
        except (KeyError, msgspec.MsgspecError):
            _logger.error("event is malformed", stream=self._stream, entry=entry_id.decode())
            return None

    async def _make_group(self) -> None:
        """From the beginning of the stream, whose entries have not been taken in; as a rule there is one already."""
        with suppress(ResponseError):
            await self._redis.xgroup_create(self._stream, JOB_EVENTS_GROUP, id="0", mkstream=True)
            _logger.info("consumer group made", stream=self._stream)

    def _notice(self, error: Exception | None) -> None:
        """One line for each interruption, with the first word of what Redis said, and one when it is over."""
        if error is not None and not self._interrupted:
            reason = str(error).partition(" ")[0]
            _logger.warning("events are interrupted", stream=self._stream, error=type(error).__name__, reason=reason)
        elif error is None and self._interrupted:
            _logger.info("events flow again", stream=self._stream)
        self._interrupted = error is not None
