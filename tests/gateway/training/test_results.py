"""What the ML service tells of trainings: it reaches the rows and the readers, once, in whatever order and however often it comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis as AsyncRedis

from gateway.database import Database
from gateway.events.journal import Journal
from gateway.events.publisher import EventPublisher
from gateway.training.results import TrainingResults
from shared.contracts.generation import GenerateRequest
from shared.contracts.training import LossPoint
from shared.errors import Unavailable
from shared.redis_events import TRAINING_EVENTS, TrainingEvent
from tests.factories import Device, allowances
from tests.fixtures.redis_client import Redis
from tests.fixtures.training_system import TrainingSystem, completed, state_of
from tests.fixtures.waiting import eventually
from tests.gateway.responses.situations import received
from tests.gateway.training.situations import active, adapters, read_job, started, trained

HISTORY = [LossPoint(step=1, loss=3.0), LossPoint(step=2, loss=2.5)]


@pytest.fixture
def job_id(learner: Device, training_system: TrainingSystem) -> str:
    """A training that has been accepted."""
    training_system.samples(learner)
    return started(learner)


def progress(job_id: str, percent: float, status: str = "training", **fields: Any) -> Any:
    return state_of(job_id, status, progress=percent, epoch=percent / 30, step=int(percent), total_steps=100, loss=2.5, **fields)


def test_progress_is_seen_and_told(learner: Device, training_system: TrainingSystem, job_id: str) -> None:
    training_system.tell(learner, progress(job_id, 40.0, history=HISTORY))

    job = read_job(learner, job_id)
    assert (job["status"], job["progress"], job["step"], job["totalSteps"], job["loss"]) == ("training", 40.0, 40, 100, 2.5)
    assert (job["epoch"], job["history"]) == (pytest.approx(40 / 30), [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.5}])
    assert job["startedAt"] is not None
    eventually(lambda: training_system.told(learner) == [("training:progress", job)])


def test_it_is_told_of_every_whole_percent(learner: Device, training_system: TrainingSystem, job_id: str) -> None:
    for percent in (10.0, 10.4, 10.8, 11.0, 95.0):
        training_system.tell(learner, progress(job_id, percent))
    training_system.tell(learner, progress(job_id, 95.2, "evaluating"))

    eventually(lambda: [data["progress"] for _, data in training_system.told(learner)] == [10.0, 11.0, 95.0, 95.2])
    assert read_job(learner, job_id)["status"] == "evaluating"


def test_a_run_that_began_anew_does_not_turn_it_back(learner: Device, training_system: TrainingSystem, job_id: str) -> None:
    for state in (progress(job_id, 60.0), progress(job_id, 20.0), progress(job_id, 0.0, "queued")):
        training_system.tell(learner, state)
    assert (read_job(learner, job_id)["status"], read_job(learner, job_id)["progress"]) == ("training", 60.0)

    training_system.tell(learner, progress(job_id, 61.0))
    assert read_job(learner, job_id)["progress"] == 61.0


def test_a_better_adapter_comes_into_use(learner: Device, training_system: TrainingSystem, job_id: str) -> None:
    training_system.tell(learner, completed(job_id, eval_loss=2.0, baseline_eval_loss=2.5))

    job = read_job(learner, job_id)
    assert (job["status"], job["progress"], job["evalLoss"], job["baselineEvalLoss"]) == ("completed", 100.0, 2.0, 2.5)
    assert (job["activated"], job["adapterId"], "20.0%" in job["activationNote"]) == (True, job_id, True)
    assert active(learner) == [job_id]
    eventually(lambda: training_system.told(learner)[-1:] == [("training:completed", job)])


@pytest.mark.parametrize("eval_loss", [2.49, 2.5, 3.0])
def test_one_that_is_hardly_better_stays_inactive(learner: Device, training_system: TrainingSystem, job_id: str, eval_loss: float) -> None:
    training_system.tell(learner, completed(job_id, eval_loss=eval_loss, baseline_eval_loss=2.5))

    job = read_job(learner, job_id)
    assert (job["status"], job["activated"], job["adapterId"]) == ("completed", False, job_id)
    assert ("not better" in job["activationNote"], active(learner)) == (True, [])


def test_it_has_to_beat_what_it_was_compared_with_and_is_in_use_now(learner: Device, training_system: TrainingSystem) -> None:
    first = trained(training_system, learner)
    job_id = started(learner)
    assert training_system.ml.request_of(job_id).baseline_adapter_id == first
    learner.client.post("/api/training/adapters/deactivate").raise_for_status()

    training_system.tell(learner, completed(job_id))

    job = read_job(learner, job_id)
    assert (job["activated"], "compared" in job["activationNote"], active(learner)) == (False, True, [])


def test_of_two_devices_trainings_the_first_to_end_comes_into_use(learner: Device, training_system: TrainingSystem, job_id: str) -> None:
    other = started(training_system.new_device(learner))

    training_system.tell(learner, completed(job_id), completed(other))

    assert (active(learner), read_job(learner, other)["activated"]) == ([job_id], False)


def test_completions_that_two_gateways_take_in_at_once_leave_one_active(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)
    for _ in range(5):
        learner.client.post("/api/training/adapters/deactivate").raise_for_status()
        jobs = [started(device) for device in (learner, training_system.new_device(learner), training_system.new_device(learner))]

        asyncio.run(_take_at_once(training_system, learner, jobs))

        assert [read_job(learner, job)["status"] for job in jobs] == ["completed"] * 3
        assert [read_job(learner, job)["activated"] for job in jobs].count(True) == 1
        assert set(active(learner)) < set(jobs)


async def _take_at_once(system: TrainingSystem, device: Device, jobs: list[str]) -> None:
    async with AsyncExitStack() as stack:
        takers = [await stack.enter_async_context(_taker(system)) for _ in jobs]
        told = [TrainingEvent(scope=str(device.account_id), state=completed(job)) for job in jobs]
        await asyncio.gather(*(taker.take([event]) for taker, event in zip(takers, told, strict=True)))


@asynccontextmanager
async def _taker(system: TrainingSystem, redis_url: str = "") -> AsyncIterator[TrainingResults]:
    """What a gateway takes events in with."""
    database = Database(system.postgres.url, 1)
    await database.open()
    async with AsyncRedis.from_url(redis_url or system.valkey.url) as redis:
        journal = Journal(redis)
        publisher = EventPublisher(journal)
        publisher.start()
        yield TrainingResults(database, publisher, allowances())
        await publisher.close()
    await database.close()


def test_an_end_that_was_stored_but_not_told_is_told_when_it_comes_again(
    learner: Device, training_system: TrainingSystem, job_id: str, tmp_path: Path
) -> None:
    async def stored_only() -> None:
        async with _taker(training_system, f"unix://{tmp_path}/nobody") as taker:
            with pytest.raises(Unavailable):
                await taker.take([TrainingEvent(scope=str(learner.account_id), state=completed(job_id))])

    asyncio.run(stored_only())
    assert (read_job(learner, job_id)["status"], training_system.told(learner)) == ("completed", [])

    training_system.tell(learner, completed(job_id))

    assert training_system.told(learner) == [("training:completed", read_job(learner, job_id))]


def drafts_of(system: TrainingSystem, device: Device) -> list[GenerateRequest]:
    """What the ML service was asked to write for the account."""
    return [draft for draft in system.ml.drafts if draft.scope == str(device.account_id)]


def test_what_follows_is_written_with_the_active_adapter(learner: Device, training_system: TrainingSystem) -> None:
    message_id = received(learner)
    body = {"messageId": message_id}
    before = learner.client.post("/api/responses/generate", json=body).json()
    adapter_id = trained(training_system, learner)

    after = learner.client.post("/api/responses/generate", json=body).json()
    queued = learner.client.post("/api/responses/generate", json=body, headers={"Prefer": "respond-async"})

    assert queued.status_code == 202
    asked = [(draft.adapter_id, draft.adapter_fallback) for draft in drafts_of(training_system, learner)]
    assert asked == [(None, "base"), (adapter_id, "base"), (adapter_id, "base")]
    assert after["modelVersion"] == f"{before['modelVersion']}+{adapter_id}"


def test_one_accounts_adapter_is_no_others(learner: Device, training_system: TrainingSystem) -> None:
    trained(training_system, learner)
    stranger = training_system.new_device()

    stranger.client.post("/api/responses/generate", json={"messageId": received(stranger)}).raise_for_status()

    assert [draft.adapter_id for draft in drafts_of(training_system, stranger)] == [None]


def test_a_failure_is_told_with_its_reason(learner: Device, training_system: TrainingSystem, job_id: str) -> None:
    training_system.tell(learner, progress(job_id, 30.0, history=HISTORY))
    training_system.tell(learner, state_of(job_id, "failed", progress=30.0, step=30, error="The disk\0 is full", history=HISTORY))

    job = read_job(learner, job_id)
    assert (job["status"], job["error"], job["progress"], len(job["history"])) == ("failed", "The disk is full", 30.0, 2)
    eventually(lambda: training_system.ends_told(learner) == ["training:failed"])
    assert adapters(learner) == []


def test_what_comes_twice_or_late_changes_and_tells_nothing(learner: Device, training_system: TrainingSystem, job_id: str) -> None:
    training_system.tell(learner, completed(job_id))
    eventually(lambda: training_system.ends_told(learner) == ["training:completed"])
    job, there = read_job(learner, job_id), adapters(learner)
    told = training_system.told(learner)

    for late in (progress(job_id, 99.0), completed(job_id, eval_loss=1.0), state_of(job_id, "failed"), state_of(job_id, "cancelled")):
        training_system.tell(learner, late, late)

    assert (read_job(learner, job_id), adapters(learner), training_system.told(learner)) == (job, there, told)


def test_an_adapter_that_comes_after_its_cancellation_is_put_away(learner: Device, training_system: TrainingSystem, job_id: str) -> None:
    learner.client.post(f"/api/training/jobs/{job_id}/cancel").raise_for_status()
    eventually(lambda: job_id in training_system.ml.cancelled)
    training_system.ml.store_adapter(job_id, str(learner.account_id))

    training_system.tell(learner, completed(job_id))

    eventually(lambda: job_id not in training_system.ml.adapters)
    assert (read_job(learner, job_id)["status"], adapters(learner)) == ("cancelled", [])


def test_a_completion_without_figures_is_a_failure(learner: Device, training_system: TrainingSystem, job_id: str) -> None:
    training_system.ml.store_adapter(job_id, str(learner.account_id))
    training_system.tell(learner, state_of(job_id, "completed", adapter_id=job_id, eval_loss=2.0))

    assert (read_job(learner, job_id)["status"], adapters(learner)) == ("failed", [])
    eventually(lambda: job_id not in training_system.ml.adapters)


def test_another_accounts_scope_reaches_nothing(learner: Device, training_system: TrainingSystem, job_id: str) -> None:
    stranger = training_system.new_device()

    training_system.tell(stranger, completed(job_id), completed("no job of ours"))

    assert read_job(learner, job_id)["status"] == "queued"
    assert (training_system.told(stranger), adapters(stranger)) == ([], [])


def test_what_cannot_be_stored_does_not_keep_the_rest(learner: Device, training_system: TrainingSystem, job_id: str) -> None:
    training_system.tell(learner, progress(str(uuid4()), 10.0), progress(job_id, 10.0, history=[LossPoint(step=2**70, loss=1.0)]))
    training_system.tell(learner, state_of(job_id, "training", progress=10.0, step=2**40), progress(job_id, 20.0))

    assert read_job(learner, job_id)["progress"] == 20.0


def test_what_was_told_while_no_gateway_ran_is_found(learner: Device, training_system: TrainingSystem, job_id: str) -> None:
    for gateway in training_system.gateways:
        gateway.kill()
    try:
        training_system.ml.states[job_id] = completed(job_id)  # and its event got lost
        with Redis.from_url(training_system.valkey.url) as redis:
            redis.delete(TRAINING_EVENTS)
    finally:
        for gateway in training_system.gateways:
            gateway.start()
    training_system.look_now()

    eventually(lambda: read_job(learner, job_id)["status"] == "completed")
    assert active(learner) == [job_id]
    eventually(lambda: training_system.ends_told(learner) == ["training:completed"])


def test_a_job_that_the_ml_service_has_forgotten_is_asked_for_anew(learner: Device, training_system: TrainingSystem, job_id: str) -> None:
    training_system.tell(learner, progress(job_id, 50.0))
    first = training_system.ml.request_of(job_id)
    training_system.ml.states.pop(job_id)
    training_system.look_now()

    eventually(lambda: training_system.ml.started.count(first) == 2)
    assert read_job(learner, job_id)["progress"] == 50.0
