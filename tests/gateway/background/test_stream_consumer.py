"""The reader of the ML service's events by itself, on a stream of its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.asyncio import Redis

from gateway.background import stream_consumer
from gateway.background.stream_consumer import StreamConsumer
from shared.errors import Unavailable
from shared.redis_events import EVENT_FIELD, JOB_EVENTS, JOB_EVENTS_GROUP, JobEvent
from tests.fixtures.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.anyio


class Results:
    """Notes what it is given, after a number of refusals."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.taken: list[list[str]] = []

    async def take(self, told: Sequence[JobEvent]) -> None:
        events = [f"{event.type} {event.job_id}" for event in told]
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("The database is away")
        self.taken.append(events)

    def may_be_lost(self, event: JobEvent) -> bool:
        return event.type == "token"


def reader_of(stream: "Redis", results: Results) -> StreamConsumer[JobEvent]:
    return StreamConsumer(stream, JOB_EVENTS, JobEvent, results)


@pytest.fixture
async def stream(redis_url: str) -> AsyncIterator["Redis"]:
    """A Redis with nothing in it, beside the one that the gateways use."""
    async with Redis.from_url(redis_url, db=3) as redis:
        await redis.flushdb()
        yield redis


async def tell(stream: "Redis", *events: tuple[str, str]) -> None:
    for event_type, job_id in events:
        await stream.xadd(JOB_EVENTS, {EVENT_FIELD: json.dumps({"type": event_type, "job_id": job_id, "scope": "a"})})


async def until_empty(stream: "Redis") -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await stream.xlen(JOB_EVENTS):
            await asyncio.sleep(0.01)


async def test_waits_for_the_database_and_tells_no_token_twice(stream: "Redis") -> None:
    results = Results(refusals=3)
    await tell(stream, ("generating", "1"), ("token", "1"), ("failed", "1"))
    reader = reader_of(stream, results)
    reader.start()
    try:
        await until_empty(stream)
    finally:
        await reader.close()

    assert results.taken == [["generating 1", "failed 1"]]


async def test_stops_without_losing_what_it_could_not_take_in(stream: "Redis") -> None:
    await tell(stream, ("failed", "1"))
    results = Results(refusals=1000)
    reader = reader_of(stream, results)
    reader.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while results.refusals == 1000:
            await asyncio.sleep(0.01)
    await reader.close()

    assert (await stream.xpending(JOB_EVENTS, JOB_EVENTS_GROUP))["pending"] == 1


async def test_a_group_that_is_lost_while_it_reads_is_made_anew(stream: "Redis") -> None:
    results = Results()
    reader = reader_of(stream, results)
    reader.start()
    try:
        await tell(stream, ("failed", "1"))
        await until_empty(stream)
        await stream.xgroup_destroy(JOB_EVENTS, JOB_EVENTS_GROUP)
        await tell(stream, ("failed", "2"))
        await until_empty(stream)
    finally:
        await reader.close()

    assert results.taken == [["failed 1"], ["failed 2"]]


async def test_what_a_dead_gateway_left_behind_is_taken_over(stream: "Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_consumer, "_LEFT_BEHIND_MILLISECONDS", 50)
    await tell(stream, ("failed", "1"))
    refusing = Results(refusals=1000)
    dead = reader_of(stream, refusing)
    dead.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while refusing.refusals == 1000:
            await asyncio.sleep(0.01)
    await dead.close()
    results = Results()
    reader = reader_of(stream, results)
    reader.start()
    try:
        await until_empty(stream)
    finally:
        await reader.close()

    assert results.taken == [["failed 1"]]
