"""Brings events from Redis to the readers of this process."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.auth.authentication import Authenticator
from gateway.auth.tokens import VerifiedToken
from gateway.events.journal import (
    ANSWER_SECONDS,
    NAMED_EVERY_SECONDS,
    TOKEN_LISTENERS,
    Journal,
    Position,
    account_of,
    channel_of,
    parse_message,
)
from gateway.events.subscription import STOPPING, TOKEN_VOID, Subscription, ending_of
from gateway.limits.allowances import Allowances
from gateway.wire import utc_now
from shared.background import BackgroundTask
from shared.errors import Unavailable

_LOOK_EVERY_SECONDS = 0.5
_JOIN_SECONDS = 2.0
_PING_SECONDS = 5.0
_RECONNECT_SECONDS = 0.2
_CLOSE_SECONDS = 3.0

_logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Channel:
    """An account with readers here; `joined` is set while Redis sends us what happens to it."""

    subscriptions: set[Subscription] = field(default_factory=set)
    joined: asyncio.Event = field(default_factory=asyncio.Event)


class EventHub:
    """One connection to Redis for all readers of this process.

    It listens to the accounts that have readers here, and to no others. When the connection breaks it makes a new one, and every reader
    looks into its account's stream for what it missed meanwhile. Twice a second it looks whether the readers may still read: a token that
    ran out, a device that was deactivated or paired anew and an account that is gone end their streams, whether Redis was there to say so
    or not.
    """

    def __init__(self, redis: "Redis", journal: Journal, authenticator: Authenticator, allowances: Allowances) -> None:
        self._redis = redis
        self._journal = journal
        self._authenticator = authenticator
        self._allowances = allowances
        self._channels: dict[UUID, _Channel] = {}
        self._pubsub: Any = None
        self._sending = asyncio.Lock()
        self._tasks = [BackgroundTask("events", self._listen), BackgroundTask("event readers", self._watch)]
        self._left = asyncio.Event()
        self._name_tokens_at = 0.0
        self._closing = False
        self._interrupted = False

    def start(self) -> None:
        for task in self._tasks:
            task.start()

    async def end_streams(self) -> None:
        """Take no more readers and end those that there are; waits a moment for them to be told."""
        self._closing = True
        for subscription in self._subscriptions():
            subscription.end(STOPPING)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self.readers:
                    self._left.clear()
                    await self._left.wait()

    async def close(self) -> None:
        await self.end_streams()
        for task in self._tasks:
            await task.close()

    @property
    def readers(self) -> int:
        """How many there are now."""
        return len(self._subscriptions())

    @asynccontextmanager
    async def subscribed(self, token: VerifiedToken, *, after: Position | None, wants_tokens: bool) -> AsyncIterator[Subscription]:
        """A subscription to the token's account: from when the block begins nothing is missed.

        Raises:
            TooManyRequests: the account has as many streams here as it may.
            Unavailable: Redis is away, or this gateway is stopping.
        """
        account_id = token.principal.account_id
        channel = self._channels.setdefault(account_id, _Channel())
        if len(channel.subscriptions) >= self._allowances["event_streams"]:
            raise self._allowances.refusal("event_streams")
        subscription = Subscription(token, self._journal, wants_tokens=wants_tokens)
        channel.subscriptions.add(subscription)
        try:
            await self._join(account_id, channel)
            await subscription.begin(after)
            if wants_tokens:
                await self._journal.name_token_listeners([account_id])
            if self._closing:
                raise Unavailable(STOPPING.reason, retry_after=1)
            yield subscription
        finally:
            channel.subscriptions.discard(subscription)  # `_leave_unused` leaves the channel if nobody comes back at once
            self._left.set()

    async def _join(self, account_id: UUID, channel: _Channel) -> None:
        if channel.joined.is_set():
            return
        await self._send("subscribe", [account_id])
        try:
            async with asyncio.timeout(_JOIN_SECONDS):
                await channel.joined.wait()
        except TimeoutError:
            raise Unavailable("Live events are away; try again in a moment") from None

    async def _send(self, command: str, account_ids: Iterable[UUID]) -> None:
        """Change what Redis sends us. When it is away, the next connection begins with what is wanted then: this one is given up, since
        redis-py would connect it again by itself, for the channels that it knows of.
        """
        channels = [channel_of(account_id) for account_id in account_ids]
        async with self._sending:
            if self._pubsub is None or not channels:
                return
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await getattr(self._pubsub, command)(*channels)
            except (RedisError, OSError, TimeoutError):
                self._pubsub = None

    async def _listen(self) -> None:
        while True:
            pubsub = self._redis.pubsub()
            try:
                async with self._sending, asyncio.timeout(ANSWER_SECONDS):
                    self._pubsub = pubsub
                    await pubsub.subscribe(TOKEN_LISTENERS, *map(channel_of, self._channels))
                await self._read(pubsub)
            except (RedisError, OSError, TimeoutError) as error:
                if not self._interrupted:
                    _logger.warning("live events are interrupted: Redis is away", error=type(error).__name__)
                self._interrupted = True
            finally:
                await self._hang_up(pubsub)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _hang_up(self, pubsub: Any) -> None:
        for channel in self._channels.values():
            channel.joined.clear()
        async with self._sending:  # a command in between would connect it again, and the pool would get a connection that is subscribed
            self._pubsub = None
            with suppress(RedisError, OSError, TimeoutError):
                await pubsub.aclose()

    async def _read(self, pubsub: Any) -> None:
        """Take in what Redis sends, until the connection breaks or is given up. One that says nothing is asked whether it still lives."""
        asked = False
        while self._pubsub is pubsub:
            message = await pubsub.get_message(timeout=_PING_SECONDS)
            if message is not None:
                asked = False
                self._take(message["type"], message["channel"], message["data"])
                await asyncio.sleep(0)  # what was read already does not wait: without this, readers would get no turn to take theirs
            elif asked:
                raise TimeoutError
            else:
                asked = True
                async with asyncio.timeout(ANSWER_SECONDS), self._sending:
                    await pubsub.ping()

    def _take(self, kind: str, channel: bytes | None, data: Any) -> None:
        if channel is None:  # the answer to a ping
            return
        match kind, channel == TOKEN_LISTENERS.encode():
            case "subscribe", True:
                if self._interrupted:
                    _logger.info("live events flow again")
                self._interrupted = False
            case "message", True:
                self._journal.hear_token_listeners(data)
            case "subscribe", False:
                self._joined(account_of(channel))
            case "message", False:
                self._dispatch(account_of(channel), data)

    def _joined(self, account_id: UUID) -> None:
        """From now on nothing is missed; what came before, only the stream knows."""
        if channel := self._channels.get(account_id):
            channel.joined.set()
            for subscription in channel.subscriptions:
                subscription.fall_behind()

    def _dispatch(self, account_id: UUID, payload: bytes) -> None:
        if channel := self._channels.get(account_id):
            for event in parse_message(payload):
                for subscription in channel.subscriptions:
                    subscription.offer(event)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            await self._leave_unused()
            with suppress(Unavailable):  # the database is away: again in a moment
                await self._end_unwanted()
            with suppress(Unavailable):  # Redis is
                await self._name_token_listeners()

    async def _leave_unused(self) -> None:
        unused = [account_id for account_id, channel in self._channels.items() if not channel.subscriptions]
        for account_id in unused:
            del self._channels[account_id]
        await self._send("unsubscribe", unused)

    async def _name_token_listeners(self) -> None:
        now = asyncio.get_running_loop().time()
        account_ids = {subscription.token.principal.account_id for subscription in self._subscriptions() if subscription.wants_tokens}
        if account_ids and self._pubsub is not None and now >= self._name_tokens_at:
            self._name_tokens_at = now + NAMED_EVERY_SECONDS
            await self._journal.name_token_listeners(account_ids)

    async def _end_unwanted(self) -> None:
        subscriptions = self._subscriptions()
        now = utc_now()
        for subscription in subscriptions:
            if subscription.token.expires_at <= now:
                subscription.end(TOKEN_VOID)
        if not subscriptions:
            return
        refusals = await self._authenticator.refusals([subscription.token for subscription in subscriptions])
        for subscription, refusal in zip(subscriptions, refusals, strict=True):
            if refusal is not None:
                subscription.end(ending_of(refusal))

    def _subscriptions(self) -> list[Subscription]:
        return [subscription for channel in self._channels.values() for subscription in channel.subscriptions]
