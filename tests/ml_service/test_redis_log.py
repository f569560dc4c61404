import pytest
from redis.asyncio import Redis as AsyncRedis

from ml_service.redis_log import RedisLog
from tests.fixtures.redis_client import Redis
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio


async def test_redis_file_is_written_anew_at_the_start_and_whenever_that_is_asked_for(redis_url: str, redis: Redis) -> None:
    def rewritings() -> int:
        return int(redis.info("persistence")["aof_rewrites"])

    before = rewritings()
    async with AsyncRedis.from_url(redis_url) as client:
        log = RedisLog(client, pause_seconds=0.05)
        log.start()
        await until(lambda: rewritings() == before + 1)  # one that was killed may have left it undone
        log.rewrite_soon()
        await until(lambda: rewritings() == before + 2)
        await log.close()
