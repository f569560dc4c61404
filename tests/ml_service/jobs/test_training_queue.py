"""The ledger of trainings on a real Valkey, without workers."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest
from redis.asyncio import Redis as AsyncRedis

from ml_service.jobs.generation_queue import GenerationQueue
from ml_service.jobs.queue import Job, JobQueueFull, QueueAway, connection_pool
from ml_service.jobs.training_queue import TrainingQueue
from ml_service.settings import Settings
from ml_service.training.spec import Progress
from shared.contracts.jobs import AsyncGenerateRequest
from shared.contracts.training import DraftComparison, LossPoint, TrainingRequest, TrainingSample
from shared.errors import Conflict, NotFound
from tests.fixtures.redis_client import Redis
from tests.ml_service.jobs.conftest import LEASE_SECONDS
from tests.ml_service.jobs.trainings import MODEL, SCOPE, SECRET, published, statuses

pytestmark = pytest.mark.anyio

PROGRESS = Progress(status="training", progress=45, epoch=1.5, step=9, total_steps=20, loss=1.25, history=[LossPoint(step=9, loss=1.25)])
RESULT = Progress(
    status="completed", progress=100, epoch=3, step=20, total_steps=20, loss=0.5, train_samples=3, eval_samples=1, eval_loss=1.0,
    baseline_eval_loss=2.0,
    history=[LossPoint(step=20, loss=0.5)],
    comparisons=[DraftComparison(sample_id="s", input="Hi \"you\"", expected="👍", before="a\nb", after="c")],
)  # fmt: skip


@pytest.fixture
async def trainings(jobs_settings: Settings, jobs_client: AsyncRedis) -> TrainingQueue:
    """An empty queue."""
    return TrainingQueue(jobs_client, jobs_settings)


JOB = "jobs:training:job:"


def request(job_id: str | None = None, scope: str = SCOPE) -> TrainingRequest:
    samples = [TrainingSample(input=SECRET, output="Yes", at=datetime.now(UTC))]
    return TrainingRequest(job_id=job_id, base_model=MODEL, samples=samples, scope=scope)


async def begun(trainings: TrainingQueue, job_id: str, lease: str) -> Job[TrainingRequest]:
    job = await trainings.begin(job_id, lease)
    assert job is not None
    return job


async def test_a_training_goes_from_queued_to_completed_and_what_is_published_is_what_is_asked(
    trainings: TrainingQueue, jobs_redis: Redis
) -> None:
    job_id = await trainings.enqueue(request())
    states = [await trainings.state(job_id)]
    job = await begun(trainings, job_id, "run")
    assert (job.lost_leases, job.request.samples[0].input) == (0, SECRET)
    states.append(await trainings.state(job_id))
    await trainings.report(job, PROGRESS)
    states.append(await trainings.state(job_id))
    assert await trainings.complete(job_id, RESULT)
    states.append(await trainings.state(job_id))

    assert [(event.scope, event.state) for event in published(jobs_redis)] == [(SCOPE, state) for state in states]
    assert [state.status for state in states] == ["queued", "training", "training", "completed"]
    assert (states[2].progress, states[2].epoch, states[2].loss, states[2].history) == (45, 1.5, 1.25, PROGRESS.history)
    end = states[3]
    assert (end.progress, end.eval_loss, end.baseline_eval_loss, end.adapter_id) == (100, 1.0, 2.0, job_id)
    assert end.comparisons == RESULT.comparisons
    assert end.started_at is not None
    assert end.completed_at is not None
    assert end.created_at <= end.started_at <= end.completed_at
    assert abs((datetime.now(UTC) - end.completed_at).total_seconds()) < 60


async def test_an_ended_training_never_changes(trainings: TrainingQueue, jobs_redis: Redis) -> None:
    job_id = await trainings.enqueue(request())
    job = await begun(trainings, job_id, "run")
    await trainings.report(job, PROGRESS)
    assert await trainings.fail(job_id, "It did not go \"well\"")  # fmt: skip
    events = published(jobs_redis)

    await trainings.report(job, PROGRESS)
    assert not await trainings.complete(job_id, RESULT)
    assert await trainings.begin(job_id, "run 2") is None
    with pytest.raises(Conflict, match="failed already"):
        await trainings.cancel(job_id)

    assert published(jobs_redis) == events
    end = await trainings.state(job_id)
    assert (end.status, end.error, end.step, end.adapter_id) == ("failed", "It did not go \"well\"", 9, None)  # fmt: skip


async def test_only_the_run_that_holds_the_job_reports(trainings: TrainingQueue, jobs_redis: Redis) -> None:
    job_id = await trainings.enqueue(request())
    slow = await begun(trainings, job_id, "slow")
    await trainings.hand_back(slow)
    assert (await trainings.state(job_id)).status == "queued"
    await trainings.begin(job_id, "quick")
    events = published(jobs_redis)

    await trainings.report(slow, PROGRESS)

    assert published(jobs_redis) == events
    assert statuses(jobs_redis, job_id) == ["queued", "training", "queued", "training"]


async def test_progress_never_goes_back(trainings: TrainingQueue, jobs_redis: Redis) -> None:
    job_id = await trainings.enqueue(request())
    dead = await begun(trainings, job_id, "dead")
    await trainings.report(dead, PROGRESS)
    await trainings.hand_back(dead)
    following = await begun(trainings, job_id, "next")
    for progress in (0, 44, 46):
        await trainings.report(following, msgspec.structs.replace(PROGRESS, progress=progress))

    assert [event.state.progress for event in published(jobs_redis)] == [0, 0, 45, 45, 45, 46]
    assert statuses(jobs_redis, job_id) == ["queued", "training", "queued", "training"]


async def test_runs_that_died_are_counted_but_not_those_that_handed_back(trainings: TrainingQueue) -> None:
    job_id = await trainings.enqueue(request())
    await trainings.hand_back(await begun(trainings, job_id, "stopped"))
    assert (await begun(trainings, job_id, "dead")).lost_leases == 0
    await asyncio.sleep(LEASE_SECONDS + 0.05)
    await trainings.renew([], requeue=True)
    assert (await begun(trainings, job_id, "third")).lost_leases == 1


async def test_samples_are_kept_no_longer_than_the_job_is_open(trainings: TrainingQueue, jobs_redis: Redis) -> None:
    job_id = await trainings.enqueue(request())
    await trainings.begin(job_id, "run")
    assert SECRET.encode() in jobs_redis.hget(JOB + job_id, "request")
    await trainings.complete(job_id, RESULT)

    everything = [jobs_redis.dump(key) for key in jobs_redis.scan_iter()]
    assert not [value for value in everything if SECRET.encode() in value]
    assert 0 < jobs_redis.ttl(JOB + job_id) <= 24 * 3600


async def test_a_generation_of_the_same_id_is_another_job(trainings: TrainingQueue, queue: GenerationQueue) -> None:
    await queue.enqueue(AsyncGenerateRequest(prompt="Hello", job_id="one"))
    await trainings.enqueue(request(job_id="one"))
    with pytest.raises(Conflict):
        await trainings.enqueue(request(job_id="one"))

    await trainings.cancel("one")

    assert (await queue.state("one")).status == "queued"
    assert await queue.begin("one", "run") is not None


async def test_a_full_queue_refuses(jobs_client: AsyncRedis) -> None:
    trainings = TrainingQueue(jobs_client, Settings(max_queued_trainings=3, max_queued_trainings_per_scope=2))
    for _ in range(2):
        await trainings.enqueue(request())
    with pytest.raises(JobQueueFull, match="scope"):
        await trainings.enqueue(request())
    await trainings.enqueue(request(scope="ben"))
    with pytest.raises(JobQueueFull):
        await trainings.enqueue(request(scope="cleo"))


async def test_accounts_take_turns(trainings: TrainingQueue, jobs_redis: Redis) -> None:
    for scope in ("anna", "anna", "anna", "ben"):
        await trainings.enqueue(request(scope=scope, job_id=f"{scope}-{len(jobs_redis.keys('arq:job:*'))}"))
    order = [key.decode() for key in jobs_redis.zrange("arq:queue:training", 0, -1)]
    assert order == ["training:anna-0", "training:ben-3", "training:anna-1", "training:anna-2"]


async def test_what_a_scope_had_is_forgotten(trainings: TrainingQueue, queue: GenerationQueue, jobs_redis: Redis) -> None:
    ended = await trainings.enqueue(request())
    await trainings.begin(ended, "run")
    await trainings.complete(ended, RESULT)
    running = await trainings.enqueue(request())
    await trainings.begin(running, "lost")
    await trainings.enqueue(request())
    other = await trainings.enqueue(request(scope="ben"))
    written = await queue.enqueue(AsyncGenerateRequest(prompt=SECRET, scope=SCOPE))

    assert await trainings.forget(SCOPE) == 3
    assert await trainings.forget(SCOPE) == 0
    assert await queue.forget(SCOPE) == 1

    assert await trainings.renew([(running, "lost")], requeue=False) == {"lost"}
    for lost in (ended, running):
        with pytest.raises(NotFound):
            await trainings.state(lost)
    with pytest.raises(NotFound):
        await queue.state(written)
    assert (await trainings.state(other)).status == "queued"
    left = {key.decode() for key in jobs_redis.scan_iter() if not key.startswith(b"events:")}
    assert not [key for key in left if any(job_id in key for job_id in (ended, running, written, f"scope:{SCOPE}"))]
    assert statuses(jobs_redis, running) == ["queued", "training", "cancelled"]


async def test_a_scope_with_many_jobs_is_forgotten_in_several_calls(jobs_client: AsyncRedis) -> None:
    queue = GenerationQueue(jobs_client, Settings())
    for _ in range(250):
        await queue.enqueue(AsyncGenerateRequest(prompt="Hello", scope="greedy"))
    assert [await queue.forget("greedy") for _ in range(3)] == [200, 50, 0]
    assert await queue.depth() == 0


async def test_jobs_that_redis_has_forgotten_leave_their_scopes_index(jobs_client: AsyncRedis, jobs_redis: Redis) -> None:
    queue = GenerationQueue(jobs_client, Settings(job_ttl_seconds=60))
    old = await queue.enqueue(AsyncGenerateRequest(prompt="Hello", scope=SCOPE))
    index = f"jobs:generation:scope:{SCOPE}"
    jobs_redis.zadd(index, {old: 1})
    new = await queue.enqueue(AsyncGenerateRequest(prompt="Hello", scope=SCOPE))
    assert jobs_redis.zrange(index, 0, -1) == [new.encode()]
    assert jobs_redis.ttl(index) > 0


async def test_without_redis_nothing_is_pretended() -> None:
    async with AsyncRedis(connection_pool=connection_pool("redis://127.0.0.1:1/0", 1)) as nowhere:
        trainings = TrainingQueue(nowhere, Settings())
        for call in (trainings.enqueue(request()), trainings.state("a"), trainings.cancel("a"), trainings.forget("a")):
            with pytest.raises(QueueAway):
                await call
