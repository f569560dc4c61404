"""What gets lost between a draft's row, its job and the events of it is found again; what comes twice changes nothing."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis as AsyncRedis

from gateway.database import Database
from gateway.events.journal import Journal
from gateway.events.publisher import EventPublisher
from gateway.responses.results import fail_abandoned
from shared.redis_events import EVENT_FIELD, JOB_EVENTS, JOB_EVENTS_GROUP
from tests.factories import Device
from tests.fixtures.database import rows
from tests.fixtures.queue_system import QueueSystem
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually
from tests.gateway.responses.situations import DRAFT, ended, queued, read
from tests.gateway.responses.test_feedback import act

RESULT: dict[str, Any] = {
    "response": "Late", "confidence": 0.5, "model_version": "m", "tokens_used": 1, "cached": False, "finish_reason": "stop",
    "candidates": [{"text": "Late", "confidence": 0.5, "tokens_used": 1, "finish_reason": "stop"}],
}  # fmt: skip


@pytest.fixture
def owner(queue_system: QueueSystem) -> Device:
    """A device of a new account."""
    return queue_system.new_device()


def test_a_draft_that_cannot_be_looked_after_is_given_up_and_holds_up_no_other(owner: Device, queue_system: QueueSystem) -> None:
    url = queue_system.postgres.url
    with queue_system.without_workers():
        broken, sound = queued(owner), queued(owner)
        rows(url, "update response set request = '{}' where id = $1", UUID(broken))
        with queue_system.redis() as redis:  # neither has a job any more
            redis.delete(f"jobs:generation:job:{broken}", f"jobs:generation:job:{sound}")

        def given_up() -> bool:
            queue_system.look_now()
            return bool(read(owner, broken)["status"] == "failed")

        eventually(given_up)

    assert "again and again" in read(owner, broken)["error"]
    assert ended(owner, sound)["status"] == "completed"
    eventually(lambda: not rows(url, "select from response where id = $1 and request is not null", UUID(broken)))


def entry(device: Device, response_id: str, event_type: str, **more: Any) -> dict[str, str]:
    """What the stream has of an event."""
    return {EVENT_FIELD: json.dumps({"type": event_type, "job_id": response_id, "scope": str(device.account_id), **more})}


def tell(system: QueueSystem, *entries: dict[str, str]) -> None:
    """Put entries on the stream, all at once."""
    with system.redis() as redis, redis.pipeline(transaction=True) as pipeline:
        for fields in entries:
            pipeline.xadd(JOB_EVENTS, fields)
        pipeline.execute()


def wait_until_read(system: QueueSystem, seconds: float = PATIENCE_SECONDS) -> None:
    """Until everything on the stream has been taken in."""
    with system.redis() as redis:
        eventually(lambda: redis.xlen(JOB_EVENTS) == 0 and redis.xpending(JOB_EVENTS, JOB_EVENTS_GROUP)["pending"] == 0, seconds)


def wait_until_job(system: QueueSystem, response_id: str, status: bytes) -> None:
    with system.redis() as redis:
        eventually(lambda: redis.hget(f"jobs:generation:job:{response_id}", "status") == status)


def completed_once(system: QueueSystem, device: Device, response_id: str) -> bool:
    return system.told(device) == [("response:generating", response_id), ("response:completed", response_id)]


def test_a_job_that_redis_has_forgotten_is_asked_for_anew(owner: Device, queue_system: QueueSystem) -> None:
    with queue_system.without_workers():
        response_id = queued(owner)
        with queue_system.redis() as redis:
            redis.flushall()
        queue_system.look_now()
        wait_until_job(queue_system, response_id, b"queued")

    assert ended(owner, response_id)["response"] == DRAFT
    eventually(lambda: completed_once(queue_system, owner, response_id))


def test_a_beginning_that_is_still_on_its_way_is_not_told_after_the_end(owner: Device, queue_system: QueueSystem) -> None:
    """A gateway stores it first and tells it then; meanwhile the draft may be cancelled through another one."""
    with queue_system.without_workers():
        response_id = queued(owner)
        rows(queue_system.postgres.url, "update response set status = 'generating', started_at = now() where id = $1", UUID(response_id))
        owner.client.post(f"/api/responses/{response_id}/cancel")

        eventually(lambda: len(queue_system.told(owner)) == 2)

    assert queue_system.told(owner) == [("response:generating", response_id), ("response:cancelled", response_id)]


def test_a_result_whose_event_got_lost_is_found(owner: Device, queue_system: QueueSystem) -> None:
    with queue_system.ml.paced(0.1):
        response_id = queued(owner)
        with queue_system.without_gateways():
            wait_until_job(queue_system, response_id, b"completed")
            with queue_system.redis() as redis:
                redis.delete(JOB_EVENTS)

    queue_system.look_now()
    assert ended(owner, response_id)["response"] == DRAFT
    eventually(lambda: completed_once(queue_system, owner, response_id))


def test_results_wait_for_a_gateway_and_for_a_group(owner: Device, queue_system: QueueSystem) -> None:
    with queue_system.ml.paced(0.1):
        response_ids = [queued(owner) for _ in range(5)]
        with queue_system.without_gateways():
            for response_id in response_ids:
                wait_until_job(queue_system, response_id, b"completed")
            with queue_system.redis() as redis:
                redis.xgroup_destroy(JOB_EVENTS, JOB_EVENTS_GROUP)

    assert {ended(owner, response_id)["status"] for response_id in response_ids} == {"completed"}
    eventually(lambda: len(queue_system.told(owner)) == 10)
    assert all(queue_system.told(owner).count(("response:completed", response_id)) == 1 for response_id in response_ids)


def test_what_a_dead_gateway_had_read_is_taken_over(owner: Device, queue_system: QueueSystem) -> None:
    with queue_system.ml.paced(0.1):
        response_id = queued(owner)
        with queue_system.without_gateways():
            wait_until_job(queue_system, response_id, b"completed")
            with queue_system.redis() as redis:
                assert redis.xreadgroup(JOB_EVENTS_GROUP, "dead", {JOB_EVENTS: ">"})

    assert ended(owner, response_id)["response"] == DRAFT
    eventually(lambda: completed_once(queue_system, owner, response_id))
    wait_until_read(queue_system)


def test_what_comes_twice_changes_and_tells_nothing(owner: Device, queue_system: QueueSystem) -> None:
    response_id = ended(owner, queued(owner))["responseId"]
    act(owner, response_id, {"action": "accept"})
    draft = read(owner, response_id)

    late = ("generating", "cancelled", "generating", "completed", "failed", "completed")
    tell(queue_system, *(entry(owner, response_id, event_type, result=RESULT, error="Too late") for event_type in late))
    wait_until_read(queue_system)

    assert read(owner, response_id) == draft
    assert completed_once(queue_system, owner, response_id)


def test_what_nobody_can_read_or_store_does_not_keep_the_rest(owner: Device, queue_system: QueueSystem) -> None:
    with queue_system.without_workers():
        good, bad = queued(owner), queued(owner)
        tell(
            queue_system,
            {EVENT_FIELD: "{"},
            {"other": "{}"},
            entry(owner, good, "completed"),
            entry(owner, "no draft's", "completed", result=RESULT),
            entry(owner, str(uuid4()), "completed", result=RESULT),
            entry(owner, bad, "completed", result={**RESULT, "tokens_used": 2**40}),
            entry(owner, good, "completed", result={**RESULT, "response": "On\0time", "model_version": "m" * 400}),
        )
        wait_until_read(queue_system)

        assert (read(owner, good)["status"], read(owner, good)["response"], read(owner, bad)["status"]) == ("completed", "Ontime", "queued")
    ended(owner, bad)


def test_another_accounts_scope_reaches_nothing(owner: Device, queue_system: QueueSystem) -> None:
    stranger = queue_system.new_device()
    with queue_system.without_workers():
        response_id = queued(owner)
        tell(queue_system, entry(stranger, response_id, "completed", result=RESULT))
        wait_until_read(queue_system)
        assert read(owner, response_id)["status"] == "queued"

    assert ended(owner, response_id)["response"] == DRAFT
    assert queue_system.told(stranger) == []


def test_failures_are_told(owner: Device, queue_system: QueueSystem) -> None:
    with queue_system.without_workers():
        response_id = queued(owner)
        tell(queue_system, entry(owner, response_id, "generating"), entry(owner, response_id, "failed", error="The model is not reachable"))
        wait_until_read(queue_system)

        draft = read(owner, response_id)
    assert (draft["status"], draft["error"]) == ("failed", "The model is not reachable")
    assert queue_system.told(owner) == [("response:generating", response_id), ("response:failed", response_id)]


def test_what_is_open_after_a_day_fails(owner: Device, queue_system: QueueSystem) -> None:
    with queue_system.without_workers():
        response_id = queued(owner)
        rows(
            queue_system.postgres.url,
            "update response set created_at = now() - interval '25 hours', look_at = now() where id = $1",
            UUID(response_id),
        )
        draft = ended(owner, response_id)
        wait_until_job(queue_system, response_id, b"cancelled")

    assert (draft["status"], "day" in draft["error"]) == ("failed", True)
    eventually(lambda: queue_system.told(owner) == [("response:failed", response_id)])


def test_the_sweep_of_waiting_drafts_leaves_queued_ones_alone(owner: Device, queue_system: QueueSystem) -> None:
    with queue_system.ml.paced(1):
        response_id = queued(owner)
        eventually(lambda: read(owner, response_id)["status"] == "generating")
        asyncio.run(_sweep(queue_system))
        assert read(owner, response_id)["status"] == "generating"

    assert ended(owner, response_id)["status"] == "completed"


async def _sweep(system: QueueSystem) -> None:
    database = Database(system.postgres.url, 1)
    await database.open()
    async with AsyncRedis.from_url(system.valkey.url) as redis:
        journal = Journal(redis)
        await fail_abandoned(database, EventPublisher(journal), timedelta(0))
    await database.close()
