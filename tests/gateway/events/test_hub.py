"""The hub and its readers in this process, where moments can be chosen that are too short to meet from outside."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from gateway.auth.principal import Principal
from gateway.auth.tokens import VerifiedToken
from gateway.events.hub import EventHub
from gateway.events.journal import Entry, Journal, Position, PublishedEvent, body_of
from gateway.events.publisher import EventPublisher, PendingEvent
from gateway.events.subscription import SLOW, WAITING_EVENTS, Subscription
from gateway.wire import utc_now
from tests.factories import allowances
from tests.fixtures.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.anyio


class Lenient:
    """Authenticates everybody."""

    async def refusals(self, tokens: Sequence[VerifiedToken]) -> list[None]:
        return [None for _ in tokens]


@dataclass
class House:
    redis: Redis
    journal: Journal
    publisher: EventPublisher
    hub: EventHub
    token: VerifiedToken

    @property
    def account_id(self) -> UUID:
        return self.token.principal.account_id

    async def publish(self, *numbers: int) -> None:
        for number in numbers:
            await self.publisher.deliver(self.account_id, PendingEvent("sync:completed", {"number": number}))


@pytest.fixture
async def house(redis_url: str) -> AsyncIterator[House]:
    async with Redis.from_url(redis_url) as redis:
        journal = Journal(redis)
        publisher = EventPublisher(journal)
        hub = EventHub(redis, journal, Lenient(), allowances())  # type: ignore[arg-type]
        publisher.start()
        hub.start()
        token = VerifiedToken(principal=Principal(uuid4(), uuid4()), issued_at=utc_now(), expires_at=utc_now() + timedelta(hours=1))
        yield House(redis, journal, publisher, hub, token)
        await hub.close()
        await publisher.close()


@asynccontextmanager
async def reading(house: House, after: Position | None = None) -> AsyncIterator[Subscription]:
    async with house.hub.subscribed(house.token, after=after, wants_tokens=False) as subscription:
        yield subscription


async def numbers(subscription: Subscription, count: int) -> list[int]:
    """At least `count` events, and whatever else comes within a moment."""
    found: list[int] = []
    while frames := await subscription.next(patience=PATIENCE_SECONDS if len(found) < count else 0.1):
        found += [msgspec.json.decode(frame.envelope)["data"]["number"] for frame in frames]
    return found


async def test_what_is_published_while_a_reader_is_entered_is_not_missed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = house.journal.newest

    async def newest_and_then_more(account_id: UUID) -> Position:
        position = await newest(account_id)
        await house.publish(2)
        return position

    await house.publish(1)
    monkeypatch.setattr(house.journal, "newest", newest_and_then_more)
    async with reading(house) as subscription:
        await house.publish(3)

        assert await numbers(subscription, 2) == [2, 3]


async def test_what_is_published_while_the_past_is_read_comes_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    read = house.journal.after

    async def more_and_then_read(account_id: UUID, position: Position, count: int) -> list[PublishedEvent]:
        monkeypatch.setattr(house.journal, "after", read)
        await house.publish(2)
        await asyncio.sleep(0.05)  # it has come over the channel, too
        return await read(account_id, position, count)

    await house.publish(1)
    monkeypatch.setattr(house.journal, "after", more_and_then_read)
    async with reading(house, after=Position(0, 0)) as subscription:
        assert await numbers(subscription, 2) == [1, 2]


async def test_what_is_published_while_the_connection_is_broken_is_found(house: House) -> None:
    async with reading(house) as subscription:
        for first in range(0, 50, 10):
            await house.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]
            await house.publish(*range(first, first + 10))

        assert await numbers(subscription, 50) == list(range(50))


async def test_a_reader_that_comes_while_the_connection_is_broken_waits_for_the_next(house: House) -> None:
    async with reading(house):
        await house.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]
        await asyncio.sleep(0.05)
        async with reading(house) as late:
            await house.publish(1)

            assert await numbers(late, 1) == [1]


async def test_a_connection_that_breaks_while_it_is_told_what_to_send_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """redis-py would connect it again by itself, for those channels only that it knew of by then."""
    subscribe = PubSub.subscribe

    async def cut_and_subscribe(pubsub: PubSub, *channels: str, **by_name: Any) -> None:
        if pubsub.connection is not None and channels:
            monkeypatch.setattr(PubSub, "subscribe", subscribe)
            await house.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await asyncio.sleep(0.05)
        await subscribe(pubsub, *channels, **by_name)

    async with reading(house) as subscription:
        monkeypatch.setattr(PubSub, "subscribe", cut_and_subscribe)
        await house.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]
        await asyncio.sleep(0.5)
        newcomer = replace(house, token=replace(house.token, principal=Principal(uuid4(), uuid4())))
        async with reading(newcomer) as late:
            await house.publish(1)
            await newcomer.publish(2)

            assert await numbers(subscription, 1) == [1]
            assert await numbers(late, 1) == [2]


async def test_a_reader_that_catches_up_is_not_dropped_and_holds_little(house: House) -> None:
    await house.publish(0)
    async with reading(house, after=Position(0, 0)) as subscription:
        many = range(1, WAITING_EVENTS + 300)
        await house.journal.publish([_entry(house, number) for number in many])
        await asyncio.sleep(0.1)

        assert subscription.ending is None
        assert len(subscription._waiting) <= WAITING_EVENTS
        assert await numbers(subscription, len(many) + 1) == [0, *many]


async def test_a_reader_that_is_up_to_date_and_stops_reading_is_dropped(house: House) -> None:
    async with reading(house) as subscription:
        await house.journal.publish([_entry(house, number) for number in range(WAITING_EVENTS + 1)])
        async with asyncio.timeout(PATIENCE_SECONDS):
            while subscription.ending is None:
                await asyncio.sleep(0.01)

        assert subscription.ending is SLOW
        assert await subscription.next() is None


async def test_a_gateway_that_starts_hears_who_wants_tokens(house: House, redis_url: str) -> None:
    async with house.hub.subscribed(house.token, after=None, wants_tokens=True), Redis.from_url(redis_url) as redis:
        journal = Journal(redis)
        hub = EventHub(redis, journal, Lenient(), allowances())  # type: ignore[arg-type]
        hub.start()

        await until(lambda: journal.tokens_wanted(house.account_id))
        assert not journal.tokens_wanted(uuid4())
        await hub.close()


def _entry(house: House, number: int) -> Entry:
    return Entry("event", house.account_id, "sync:completed", body_of("sync:completed", {"number": number}).decode(), once=uuid4().hex)
