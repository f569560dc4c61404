"""The publisher: exactly once where that is asked for, in order, and nobody waits for Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.events import publisher as module
from gateway.events.journal import BEGINNING, Entry, Journal
from gateway.events.publisher import EventPublisher, PendingEvent
from shared.errors import Unavailable
from tests.factories import unheard_publisher
from tests.fixtures.servers import Server, running_valkey

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[tuple[EventPublisher, Journal]]:
    async with Redis.from_url(url, socket_connect_timeout=10, socket_timeout=10) as redis:
        journal = Journal(redis)
        publisher = EventPublisher(journal)
        publisher.start()
        yield publisher, journal
        await publisher.close()


async def numbers(journal: Journal, account_id: UUID) -> list[int]:
    """What is kept of an account."""
    events = await journal.after(account_id, BEGINNING, 10_000)
    return [msgspec.json.decode(event.envelope(BEGINNING))["data"]["number"] for event in events]


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Server]:
    with running_valkey(tmp_path) as server:
        yield server


async def test_once_is_once_however_many_publish_at_once(redis_url: str) -> None:
    account_id, key = uuid4(), uuid4().hex
    async with publishing(redis_url) as (one, journal), publishing(redis_url) as (other, _):
        await asyncio.gather(
            *(
                each.deliver(account_id, PendingEvent("response:completed", {"number": number}, once=key))
                for number in range(25)
                for each in (one, other)
            )
        )

        assert len(await numbers(journal, account_id)) == 1


async def test_other_keys_are_other_events(redis_url: str) -> None:
    account_id, key = uuid4(), uuid4().hex
    async with publishing(redis_url) as (publisher, journal):
        await publisher.deliver(account_id, PendingEvent("response:completed", {"number": 1}, once=f"{key}-1"))
        await publisher.deliver(account_id, PendingEvent("response:completed", {"number": 2}, once=f"{key}-2"))
        await publisher.deliver(account_id, PendingEvent("response:completed", {"number": 3}, once=f"{key}-1"))

        assert await numbers(journal, account_id) == [1, 2]


async def test_what_is_published_while_redis_is_away_goes_out_once_it_is_back(own_valkey: Server) -> None:
    account_id = uuid4()
    async with publishing(own_valkey.url) as (publisher, journal):
        for number in range(300):
            publisher.publish(account_id, PendingEvent("sync:completed", {"number": number}))
            if number == 100:
                await asyncio.sleep(0)  # some are on their way
                own_valkey.kill()
        await asyncio.sleep(0.3)
        await asyncio.to_thread(own_valkey.start)
        await publisher.deliver(account_id, PendingEvent("sync:completed", {"number": 300}))

        assert await numbers(journal, account_id) == list(range(301))


async def test_an_answer_that_gets_lost_makes_no_second_event(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    account_id = uuid4()
    async with publishing(redis_url) as (publisher, journal):
        publish, failures = journal.publish, iter([True, False])

        async def publish_and_lose_the_answer(entries: Sequence[Entry]) -> None:
            await publish(entries)
            if next(failures, False):
                raise TimeoutError

        monkeypatch.setattr(journal, "publish", publish_and_lose_the_answer)
        for number in range(10):
            publisher.publish(account_id, PendingEvent("sync:completed", {"number": number}))
        await publisher.deliver(account_id, PendingEvent("sync:completed", {"number": 10}))

        assert await numbers(journal, account_id) == list(range(11))


async def test_who_answers_for_an_event_is_told_that_it_cannot_be_delivered(own_valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CERTAIN_SECONDS", 0.3)
    async with publishing(own_valkey.url) as (publisher, _):
        own_valkey.kill()

        with pytest.raises(Unavailable):
            await publisher.deliver(uuid4(), PendingEvent("response:completed", {}))


async def test_publishing_waits_for_nobody_and_takes_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_EVENTS", 100)
    publisher = unheard_publisher()
    for number in range(10_000):
        publisher.publish(uuid4(), PendingEvent("sync:completed", {"number": number}))

    assert publisher._waiting.qsize() == 100
