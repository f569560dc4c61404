"""The ledger on a real Valkey, without workers."""

import asyncio
from collections import Counter

import pytest
from redis.asyncio import Redis as AsyncRedis

from ml_service.jobs.generation_queue import GenerationQueue
from ml_service.jobs.queue import Job, JobQueueFull, QueueAway, connection_pool
from ml_service.settings import Settings
from shared.contracts.generation import Candidate, GenerateResponse, TokenEvent
from shared.contracts.jobs import AsyncGenerateRequest
from shared.errors import Conflict, NotFound
from tests.fixtures.redis_client import Redis
from tests.ml_service.jobs.conftest import LEASE_SECONDS, events

pytestmark = pytest.mark.anyio

ANSWER = GenerateResponse(
    response="Sounds \"good\" 👍",
    confidence=0.5,
    model_version="m",
    tokens_used=2,
    cached=False,
    finish_reason="stop",
    candidates=[Candidate(text="Sounds \"good\" 👍", confidence=0.5, tokens_used=2, finish_reason="stop")],
)  # fmt: skip


QUEUE = "arq:queue:generation"
JOB = "jobs:generation:job:"


def request(scope: str = "anna", job_id: str | None = None) -> AsyncGenerateRequest:
    return AsyncGenerateRequest(prompt="Hello", scope=scope, job_id=job_id)


def waiting(redis: Redis) -> list[str]:
    """The jobs that wait, first the one whose turn is next."""
    return [key.decode().removeprefix("generation:") for key in redis.zrange(QUEUE, 0, -1)]


async def begun(queue: GenerationQueue, job_id: str, lease: str) -> Job[AsyncGenerateRequest]:
    job = await queue.begin(job_id, lease)
    assert job is not None
    return job


async def begin_next(queue: GenerationQueue, redis: Redis) -> str:
    """Begin the job that is first in the queue, as a worker would; its scope."""
    return (await begun(queue, waiting(redis)[0], "run")).request.scope


async def test_a_job_goes_from_queued_to_completed_and_each_step_is_published_once(queue: GenerationQueue, jobs_redis: Redis) -> None:
    job_id = await queue.enqueue(request())
    assert (await queue.state(job_id)).status == "queued"

    job = await begun(queue, job_id, "run 1")
    assert (job.request, job.lost_leases) == (request(), 0)
    assert (await queue.state(job_id)).status == "generating"

    assert await queue.complete(job_id, ANSWER)
    state = await queue.state(job_id)
    assert (state.status, state.result, state.error) == ("completed", ANSWER, None)
    assert state.completed_at is not None
    assert state.created_at <= state.completed_at
    assert [(event.type, event.scope, event.result) for event in events(jobs_redis)] == [
        ("generating", "anna", None),
        ("completed", "anna", ANSWER),
    ]


async def test_an_ended_job_never_changes_and_nothing_more_is_published(queue: GenerationQueue, jobs_redis: Redis) -> None:
    job_id = await queue.enqueue(request())
    job = await begun(queue, job_id, "run 1")
    assert await queue.fail(job_id, "It did not go well")
    published = events(jobs_redis)

    assert not await queue.complete(job_id, ANSWER)
    assert await queue.begin(job_id, "run 2") is None
    await queue.hand_back(job)
    await queue.publish(job, [TokenEvent(text="late")])
    with pytest.raises(Conflict, match="failed already"):
        await queue.cancel(job_id)

    state = await queue.state(job_id)
    assert (state.status, state.result, state.error) == ("failed", None, "It did not go well")
    assert events(jobs_redis) == published
    assert await queue.depth() == 0


async def test_of_two_runs_the_first_to_end_has_ended_the_job(queue: GenerationQueue, jobs_redis: Redis) -> None:
    job_id = await queue.enqueue(request())
    await queue.hand_back(await begun(queue, job_id, "slow"))
    await queue.begin(job_id, "quick")

    assert await queue.begin(job_id, "third") is None
    assert await queue.renew([(job_id, "slow"), (job_id, "quick")], requeue=False) == {"slow"}
    assert await queue.complete(job_id, ANSWER)
    assert not await queue.complete(job_id, ANSWER)
    assert [event.type for event in events(jobs_redis)] == ["generating", "generating", "completed"]


async def test_a_cancelled_job_leaves_nothing_to_run(queue: GenerationQueue, jobs_redis: Redis) -> None:
    job_id = await queue.enqueue(request())

    assert (await queue.cancel(job_id)).status == "cancelled"

    assert await queue.begin(job_id, "run") is None
    assert [event.type for event in events(jobs_redis)] == ["cancelled"]
    kept = {key.decode() for key in jobs_redis.scan_iter()}
    assert not {key for key in kept if key.startswith("arq:") or key in ("jobs:generation:open", "jobs:generation:waiting")}


async def test_what_is_over_keeps_no_prompt_and_goes_by_itself(queue: GenerationQueue, jobs_redis: Redis) -> None:
    job_id = await queue.enqueue(request())
    assert jobs_redis.ttl(JOB + job_id) > 24 * 3600
    await queue.begin(job_id, "run")
    await queue.complete(job_id, ANSWER)

    assert b"request" not in jobs_redis.hgetall(JOB + job_id)
    assert 0 < jobs_redis.ttl(JOB + job_id) <= 24 * 3600
    assert b"Hello" not in b"".join(fields[b"event"] for _, fields in jobs_redis.xrange("events:jobs"))


async def test_unknown_jobs_are_not_found(queue: GenerationQueue) -> None:
    with pytest.raises(NotFound):
        await queue.state("nobody")
    with pytest.raises(NotFound):
        await queue.cancel("nobody")
    assert await queue.begin("nobody", "run") is None


async def test_fifty_at_once_with_one_id_are_one_job(queue: GenerationQueue) -> None:
    async def ask() -> str:
        try:
            return await queue.enqueue(request(job_id="one"))
        except Conflict:
            return "known"

    answers = await asyncio.gather(*(ask() for _ in range(50)))
    assert Counter(answers) == {"one": 1, "known": 49}
    assert await queue.depth() == 1


async def test_a_full_queue_refuses_and_takes_again_when_there_is_room(jobs_client: AsyncRedis) -> None:
    queue = GenerationQueue(jobs_client, Settings(max_queued_jobs=3))
    job_ids = [await queue.enqueue(request(scope)) for scope in ("a", "b", "c")]
    with pytest.raises(JobQueueFull) as full:
        await queue.enqueue(request("d"))
    assert full.value.retry_after is not None
    await queue.begin(job_ids[0], "run")
    await queue.enqueue(request("d"))


async def test_one_scope_cannot_fill_the_queue(jobs_client: AsyncRedis) -> None:
    queue = GenerationQueue(jobs_client, Settings(max_queued_jobs_per_scope=5))
    job_ids = [await queue.enqueue(request("greedy")) for _ in range(5)]
    with pytest.raises(JobQueueFull, match="scope"):
        await queue.enqueue(request("greedy"))
    await queue.enqueue(request("modest"))
    await queue.cancel(job_ids[0])
    await queue.enqueue(request("greedy"))


async def test_a_thousand_jobs_of_one_scope_let_others_through(queue: GenerationQueue, jobs_redis: Redis) -> None:
    for _ in range(1000):
        await queue.enqueue(request("greedy"))
    for _ in range(3):
        await begin_next(queue, jobs_redis)
    for scope in ("anna", "ben"):
        for _ in range(3):
            await queue.enqueue(request(scope))

    order = [await begin_next(queue, jobs_redis) for _ in range(9)]

    assert Counter(order) == {"greedy": 3, "anna": 3, "ben": 3}
    assert all(Counter(order[start : start + 3]) == {"greedy": 1, "anna": 1, "ben": 1} for start in (0, 3, 6))


async def test_a_job_whose_lease_has_run_out_returns_to_its_old_place(
    jobs_settings: Settings, jobs_client: AsyncRedis, jobs_redis: Redis
) -> None:
    lease_seconds = 3.0  # so that it has not run out when it is first looked for
    queue = GenerationQueue(jobs_client, Settings(redis_url=jobs_settings.redis_url, job_lease_seconds=lease_seconds))
    first = await queue.enqueue(request())
    second = await queue.enqueue(request())
    await queue.begin(first, "dead")

    await queue.renew([], requeue=True)
    assert (await queue.state(first)).status == "generating"
    await asyncio.sleep(lease_seconds + 0.05)
    await queue.renew([], requeue=True)

    assert (await queue.state(first)).status == "queued"
    assert waiting(jobs_redis) == [first, second]
    assert jobs_redis.exists(f"arq:job:generation:{first}")
    assert await queue.renew([(first, "dead")], requeue=False) == {"dead"}


async def test_a_job_that_the_queue_has_lost_is_put_back(queue: GenerationQueue, jobs_redis: Redis) -> None:
    job_id = await queue.enqueue(request())
    jobs_redis.delete(QUEUE, f"arq:job:generation:{job_id}")  # as arq does with jobs that it thinks have ended
    await asyncio.sleep(LEASE_SECONDS + 0.05)

    await queue.renew([], requeue=True)

    assert await queue.depth() == 1
    assert await queue.begin(job_id, "run") is not None


async def test_scripts_are_there_again_after_redis_forgot_them(queue: GenerationQueue, jobs_redis: Redis) -> None:
    await queue.enqueue(request())
    jobs_redis.script_flush()
    await queue.enqueue(request())
    assert await queue.depth() == 2


async def test_without_redis_nothing_is_pretended() -> None:
    async with AsyncRedis(connection_pool=connection_pool("redis://127.0.0.1:1/0", 1)) as nowhere:
        queue = GenerationQueue(nowhere, Settings())
        for call in (queue.enqueue(request()), queue.state("a"), queue.cancel("a"), queue.depth()):
            with pytest.raises(QueueAway):
                await call
