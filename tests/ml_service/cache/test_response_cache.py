import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from redis.asyncio import Redis as AsyncRedis

from ml_service.cache.keys import named_key, names_key
from ml_service.cache.response_cache import ResponseCache
from shared.contracts.generation import Candidate
from shared.errors import Unavailable
from tests.fixtures.redis_client import Redis
from tests.fixtures.servers import Server
from tests.fixtures.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.anyio

TIMEOUT_SECONDS = 1.0
ANSWER = [Candidate(text="See you at 8 ✓", confidence=0.5, tokens_used=7, finish_reason="stop")]


@asynccontextmanager
async def cache_on(redis_url: str, ttl_seconds: int = 60) -> AsyncIterator[ResponseCache]:
    async with AsyncRedis.from_url(redis_url, socket_connect_timeout=TIMEOUT_SECONDS, socket_timeout=TIMEOUT_SECONDS) as redis:
        yield ResponseCache(redis, ttl_seconds)


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[ResponseCache]:
    async with cache_on(redis_url) as cache:
        yield cache


def key(scope: str) -> str:
    return named_key(scope, "model", uuid4().hex)


async def answer(cache: ResponseCache, scope: str, name: str) -> list[Candidate] | None:
    return (await cache.get(scope, name)).answer


async def put(cache: ResponseCache, scope: str, name: str) -> None:
    """As a generation does: it looks first."""
    await cache.put(scope, name, ANSWER, (await cache.get(scope, name)).epoch)


async def test_an_answer_is_kept_for_its_time(cache: ResponseCache, redis: Redis) -> None:
    name = key("scope")
    await put(cache, "scope", name)
    assert await answer(cache, "scope", name) == ANSWER
    assert await answer(cache, "scope", key("scope")) is None
    assert 0 < redis.ttl(name) <= 60


async def test_what_another_version_wrote_is_no_answer(cache: ResponseCache, redis: Redis) -> None:
    name = key("scope")
    redis.set(name, b'{"old": "form"}')
    assert await answer(cache, "scope", name) is None


async def test_one_scope_can_be_forgotten_and_nothing_outside_the_cache(cache: ResponseCache, redis: Redis) -> None:
    mine, yours = uuid4().hex, uuid4().hex
    redis.set("arq:job:1", "kept")
    for scope in (mine, mine, yours):
        await put(cache, scope, key(scope))

    await cache.forget(mine)
    assert await cache.invalidate(f"{mine}:*") == 0
    assert await cache.invalidate(f"{yours}:*") == 1

    await put(cache, mine, key(mine))
    assert await cache.invalidate("*") >= 1
    assert redis.get("arq:job:1") == b"kept"


async def test_an_answer_that_was_begun_before_its_scope_was_forgotten_is_not_kept(cache: ResponseCache, redis: Redis) -> None:
    scope = uuid4().hex
    name = key(scope)
    begun = await cache.get(scope, name)
    await cache.forget(scope)

    await cache.put(scope, name, ANSWER, begun.epoch)
    assert redis.get(name) is None

    await put(cache, scope, name)
    assert await answer(cache, scope, name) == ANSWER


async def test_names_of_answers_that_ran_out_are_not_kept(redis_url: str, redis: Redis) -> None:
    scope = uuid4().hex
    async with cache_on(redis_url, ttl_seconds=1) as short:
        await put(short, scope, key(scope))
        await asyncio.sleep(1.1)
        await put(short, scope, key(scope))

    assert redis.zcard(names_key(scope)) == 1


async def test_many_answers_are_forgotten(cache: ResponseCache, redis: Redis) -> None:
    scope = uuid4().hex
    redis.mset({key(scope): b"[]" for _ in range(5000)})
    assert await cache.invalidate(f"{scope}:?*") == 5000


async def test_without_redis_nothing_waits_and_it_is_noticed_when_it_is_back(cache: ResponseCache, valkey: Server) -> None:
    name = key("scope")
    assert await cache.connected()
    valkey.kill()
    try:
        started = time.monotonic()
        for _ in range(50):
            await put(cache, "scope", name)
            assert await answer(cache, "scope", name) is None
        assert time.monotonic() - started < 30 * TIMEOUT_SECONDS  # of a hundred
        assert not await cache.connected()
        with pytest.raises(Unavailable):
            await cache.invalidate("*")
    finally:
        valkey.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await cache.connected():
            await asyncio.sleep(0.05)
    await put(cache, "scope", name)
    assert await answer(cache, "scope", name) == ANSWER


async def test_a_redis_that_does_not_answer_costs_one_short_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with cache_on(f"redis://127.0.0.1:{silent.getsockname()[1]}/0") as waiting:
            started = time.monotonic()
            for _ in range(20):
                assert await answer(waiting, "a", "cache:a:b") is None
            assert TIMEOUT_SECONDS <= time.monotonic() - started < 10 * TIMEOUT_SECONDS  # of twenty
